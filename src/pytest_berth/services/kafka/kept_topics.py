"""Keeps what failed tests have published: records are copied into topics of a broker of ours.

Kafka cannot rename a topic, and the names of a test's topics may be those of all tests: so records
are published again, with their partitions, keys, values, headers and timestamps; their offsets
begin at 0. What no transaction has committed is not copied. Such a topic's name tells until when it
is kept; `topics.find` finds it for nobody else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_berth.api import Kept
from pytest_berth.services.kafka import topics
from pytest_berth.services.kafka.publishing import produce
from pytest_berth.services.kafka.topic_reader import Reader

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pytest_berth.services.kafka.brokers import Brokers
    from pytest_berth.services.kafka.topics import Mark, Offsets, Topic

_NAME = rf"{re.escape(topics.KEPT)}(?P<until>\d+)-.+"
_LONGEST = 249
# Records of any age and size are taken as they are.
_CONFIGS = {
    "cleanup.policy": "delete",
    "max.message.bytes": str(64 << 20),
    "message.timestamp.type": "CreateTime",
    "retention.bytes": "-1",
    "retention.ms": "-1",
}
_READ_WITHIN = 10.0
_MISSING = "{} offsets held no record, or none that a transaction has committed"


def keep(
    brokers: Brokers, marks: Mapping[str, Mark], wanted: Collection[str], name: str, until: float
) -> list[Kept]:
    """Copy the records that a test has published.

    Args:
        brokers: The cluster.
        marks: Where each topic ended before the test; one that is not there is read from its start.
        wanted: The topics that may be the test's.
        name: What no other failure is called.
        until: Until when it stays, in seconds since 1970.
    """
    extents = topics.extents(
        brokers,
        lambda: {each: topic for each, topic in topics.find(brokers).items() if each in wanted},
    )
    found = []
    for original, ends in extents.ends.items():
        topic = extents.topics[original]
        begin = _begin(topic, marks.get(original), extents.starts[original])
        if any(end > begin.get(part, 0) for part, end in ends.items()):
            kept = f"{topics.KEPT}{until:.0f}-{name}-{original}"[:_LONGEST]
            count = _copy(brokers, topic, kept, begin, ends)
            offsets = sum(end - begin.get(part, 0) for part, end in ends.items())
            found.append(Kept(kept, _MISSING.format(offsets - count) if count < offsets else ""))
    return found


def over(brokers: Brokers, now: float) -> list[str]:
    """Return the kept topics whose time is over."""
    answer = brokers.metadata(None)
    matches = (re.fullmatch(_NAME, each.name) for each in answer.topics)
    return [match[0] for match in matches if match and float(match["until"]) <= now]


def discard(brokers: Brokers, name: str) -> None:
    """Delete a kept topic, and no other."""
    if re.fullmatch(_NAME, name):
        topics.delete(brokers, [name])


def _begin(topic: Topic, mark: Mark | None, starts: Offsets) -> Offsets:
    """Return where the test's records begin."""
    if mark is None or mark.id != topic.id:
        return starts
    return {part: max(at, mark.offsets.get(part, at)) for part, at in starts.items()}


def _copy(brokers: Brokers, topic: Topic, kept: str, begin: Offsets, ends: Offsets) -> int:
    """Copy a topic's records between offsets, and return how many they were."""
    (made,) = topics.create(brokers, {kept: (len(topic.leaders), -1, _CONFIGS)}).values()
    try:
        records = Reader(brokers).read_to(topic.name, begin, ends, _READ_WITHIN)
        for part, leader in made.leaders.items():
            of_part = [each for each in records if each.partition == part]
            produce(brokers, kept, part, leader, of_part)
    except BaseException:
        topics.delete(brokers, [kept])
        raise
    return len(records)
