"""The topics of coming tests, made together with that of a test that asks for one.

A broker takes nearly as long for one topic as for twenty. Each bears the name of its test, which
gets it as it would have been made for it: nobody has written to it, which the look before each test
tells, and nobody has changed it, as the controller has written nothing else down since. Where it
has, they are given up, and made by ones, twos, fours again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from pytest_berth.isolation.lifecycle import has_own_server
from pytest_berth.services.kafka.service import KAFKA

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from pytest_berth.services.kafka.topics import Mark, Topic

# Partitions, replicas as the broker's defaults say, and settings.
USUAL: tuple[int, int, Mapping[str, str]] = (1, -1, {})
_FIXTURE = "kafka_topic"
_MOST = 20


@dataclass
class TopicsAhead:
    """Topics that were made for coming tests.

    Attributes:
        topics: The topics by the tests' ids.
    """

    topics: dict[str, Topic] = field(default_factory=dict)
    _at_once: int = 1

    @property
    def names(self) -> set[str]:
        """The names of the topics."""
        return {topic.name for topic in self.topics.values()}

    def take(self, item: pytest.Item, marks: dict[str, Mark]) -> Topic | None:
        """Return a test's topic, unless it has had a record.

        Args:
            item: The test.
            marks: Where topics ended before it; not that one, from now on.
        """
        topic = self.topics.pop(item.nodeid)
        mark = marks.pop(topic.name, None)
        is_new = mark is not None and mark.id == topic.id and not any(mark.offsets.values())
        return topic if is_new else None

    def next_tests(self, item: pytest.Item) -> list[pytest.Item]:
        """Return a test, and those after it that topics are to be made for now."""
        items = item.session.items
        later = islice(items, items.index(item) + 1, None) if item in items else iter(())
        asking = (
            each
            for each in later
            if _FIXTURE in getattr(each, "fixturenames", ())
            and each.nodeid not in self.topics
            and not has_own_server(each, KAFKA)
        )
        at_once, self._at_once = self._at_once, min(2 * self._at_once, _MOST)
        return [item, *islice(asking, at_once - 1)]

    def give_up(self) -> None:
        """Forget all topics: somebody may have changed them."""
        if self.topics:
            self.topics.clear()
            self._at_once = 1
