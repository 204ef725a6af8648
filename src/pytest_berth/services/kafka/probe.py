"""``kafka_probe``: publishing, and assertions about what has been published."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.services.kafka import (
    assertion_messages,
    dead_letters,
    probe_records,
    publishing,
    topics,
)
from pytest_berth.services.kafka.consumer_groups import Groups
from pytest_berth.services.kafka.keyword_arguments import by_name
from pytest_berth.services.kafka.record import Record, encode, encode_headers
from pytest_berth.services.kafka.topic_reader import FirstLook, Reader
from pytest_berth.services.kafka.topics import Mark
from pytest_berth.waiting import now, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_berth.services.kafka.namespace import IsolatedTest
    from pytest_berth.services.kafka.topics import Offsets, Topic


@dataclass
class Probe:
    """A test's view of Kafka.

    It reads partitions from explicit offsets and is in no consumer group. A topic is read from
    `mark`, else from the test's start: what an earlier test has published is not seen. A topic with
    a fixed name may be called as the application calls it, without ``{kafka_prefix}``.
    """

    _isolated: IsolatedTest = field(repr=False)
    _is_given_up: Callable[[], bool] = field(default=lambda: False, repr=False)

    @property
    def bootstrap(self) -> str:
        """The bootstrap servers, ``host:port``."""
        return self._isolated.namespace.url

    @by_name
    def topic(
        self,
        name: str | None = None,
        *,
        partitions: int = 1,
        config: Mapping[str, object] | None = None,
    ) -> str:
        """Create a topic of this test's own and return its name.

        Args:
            name: A part of the name; the rest makes it the test's own.
            partitions: Number of partitions.
            config: Settings of the topic, such as ``{"cleanup.policy": "compact"}``.
        """
        is_usual = not name and partitions == 1 and not config
        made = (self._isolated.made_ahead() if is_usual else None) or self._create(
            self._isolated.name(name or ""), partitions, config or {}
        )
        self._isolated.marks[made.name] = Mark(made.id, dict.fromkeys(range(partitions), 0))
        return made.name

    def group(self, name: str | None = None) -> str:
        """Return a consumer group's name of this test's own."""
        return self._isolated.name(name or "group")

    @by_name
    def publish(
        self,
        topic: str,
        value: object,
        *,
        key: object = None,
        headers: Mapping[str, object] | list[tuple[str, object]] | None = None,
        partition: int | None = None,
    ) -> Record:
        """Publish a record, wait until the broker has it, and return it.

        Args:
            topic: The topic.
            value: Bytes as they are, text as UTF-8, None for a tombstone, all else as JSON.
            key: The same.
            headers: Values are encoded the same way; a list where a name occurs twice.
            partition: The partition, else it follows from the key.
        """
        wanted = Record(
            topic=self._isolated.topic(topic),
            partition=-1 if partition is None else partition,
            offset=-1,
            timestamp=-1,
            key=encode(key),
            value=encode(value),
            headers=tuple(encode_headers(headers)),
        )
        with probe_records.published(self._isolated.namespace.config, wanted):
            known = self._isolated.known(wanted.topic)
            return publishing.publish(self._isolated.clients.brokers, wanted, known)

    @by_name
    def collect(
        self,
        topic: str,
        n: int = 1,
        *,
        timeout: float = 5.0,
        where: Callable[[Record], bool] | None = None,
    ) -> list[Record]:
        """Return the first *n* records, waiting until they are there.

        Records of a partition come in their order; those of several as they arrive.

        Args:
            topic: The topic.
            n: How many records.
            timeout: Seconds to wait.
            where: Only records for which it is true count.

        Raises:
            AssertionError: There were fewer; it shows what is in the topic, and who reads it.
            ValueError: *n* is no number of records.
        """
        __tracebackhide__ = True
        if not isinstance(n, int) or n < 0:
            raise ValueError(f"collect() takes a number of records as n, and not {n!r}")
        found = self._collect(topic, n, timeout, where)[0][:n]
        if len(found) < n:
            what = f"{len(found)} of {n} records came to {topic!r} within {timeout:g} s"
            raise AssertionError(self._explain(topic, what, where))
        return found

    @by_name
    def expect_one(
        self, topic: str, *, timeout: float = 5.0, where: Callable[[Record], bool] | None = None
    ) -> Record:
        """Return the one record there is, waiting until it is there.

        Args:
            topic: The topic.
            timeout: Seconds to wait.
            where: Only records for which it is true count.

        Raises:
            AssertionError: There was none in time, or there is more than one.
        """
        __tracebackhide__ = True
        found, position, look = self._collect(topic, 1, timeout, where)
        if not found:
            what = f"no record came to {topic!r} within {timeout:g} s"
            raise AssertionError(self._explain(topic, what, where))
        if not look.is_all:
            real = self._isolated.topic(topic)
            more = self._reader.read_rest(real, position, 5.0, look.topic)
            found += [record for record in more if where is None or where(record)]
        if len(found) > 1:
            what = f"{len(found)} records are in {topic!r}, where one was expected"
            raise AssertionError(self._explain(topic, what, where))
        return found[0]

    @by_name
    def expect_none(
        self, topic: str, *, within: float = 0.5, where: Callable[[Record], bool] | None = None
    ) -> None:
        """See to it that no record comes.

        Args:
            topic: The topic.
            within: Seconds to watch.
            where: Only records for which it is true count.

        Raises:
            AssertionError: One came; it is raised at once.
        """
        __tracebackhide__ = True
        if self._collect(topic, 1, within, where)[0]:
            raise AssertionError(self._explain(topic, f"a record came to {topic!r}", where))

    @by_name
    def expect_dead_letter(
        self,
        topic: str,
        source: Record | str | None = None,
        *,
        timeout: float = 5.0,
        where: Callable[[Record], bool] | None = None,
    ) -> Record:
        """Return the one dead letter there is, waiting until it is there.

        Args:
            topic: The dead-letter topic.
            source: The record that could not be handled: its value is in the letter, or headers
                name its place. Or a topic: a header, or the value, names it.
            timeout: Seconds to wait.
            where: Only records for which it is true count.

        Raises:
            AssertionError: There was none in time, or there is more than one.
        """
        __tracebackhide__ = True
        wanted = self._isolated.topic(source) if isinstance(source, str) else source

        def fits(record: Record) -> bool:
            return dead_letters.comes_from(record, wanted) and (where is None or where(record))

        return self.expect_one(topic, where=fits, timeout=timeout)

    def mark(self, topic: str) -> None:
        """Begin to read the topic after what is in it now."""
        real = self._isolated.topic(topic)
        # Also one whose partitions have no leader yet: its end is waited for.
        found = topics.find(self._isolated.clients.brokers, [real]).get(real)
        if found:
            self._isolated.marks[real] = Mark(found.id, self._reader.ends(real))

    @by_name
    def wait_assigned(self, group: str, topic: str | None = None, *, timeout: float = 10.0) -> None:
        """Wait until a group has settled and its consumers have their partitions.

        Raises:
            TimeoutError: It did not; it says what state the group is in, and who has what.
        """
        real = self._isolated.topic(topic) if topic else None
        try:
            wait_for(
                lambda: self._goes_on() and self._groups.assigned(group, real),
                timeout,
                max_interval=0.05,
            )
        except TimeoutError:
            raise TimeoutError(
                f"consumers of the group {group!r} for {topic or 'any topic'}: not there after"
                f" {timeout:g} s; {self._groups.look(group)}"
            ) from None

    @by_name
    def wait_caught_up(self, group: str, topic: str, *, timeout: float = 10.0) -> None:
        """Wait until a group has committed all records of a topic.

        Raises:
            AssertionError: It has not; it shows the group's lag.
        """
        __tracebackhide__ = True
        try:
            wait_for(
                lambda: self._goes_on() and self.lag(group, topic) == 0, timeout, max_interval=0.05
            )
        except TimeoutError:
            what = f"the group {group!r} has not caught up with {topic!r} within {timeout:g} s"
            raise AssertionError(self._explain(topic, what, None, group)) from None

    def lag(self, group: str, topic: str) -> int:
        """Return how many records of a topic a group has not committed yet.

        A group that nobody knows has committed none: the number says so where it is shown.
        """
        real = self._isolated.topic(topic)
        mark = self._isolated.marks.get(real)
        return self._groups.lag(group, real, mark.offsets if mark else {})

    def _create(self, real: str, partitions: int, config: Mapping[str, object]) -> Topic:
        configs = {key: str(value) for key, value in config.items()}
        made = topics.create(self._isolated.clients.brokers, {real: (partitions, -1, configs)})
        self._isolated.created.append(made[real])
        self._isolated.namespace.discard(real)
        return made[real]

    @property
    def _reader(self) -> Reader:
        return Reader(self._isolated.clients.brokers)

    @property
    def _groups(self) -> Groups:
        return Groups(self._isolated.clients.brokers)

    def _goes_on(self) -> bool:
        """Return true while somebody waits.

        Raises:
            CancelledError: Nobody does any more.
        """
        if self._is_given_up():
            raise CancelledError
        return True

    def _begin(self, real: str, found: Topic | None = None) -> Offsets:
        """Return where reading begins: at the mark, unless the topic has been made since.

        Args:
            real: The topic, as it is called on the broker.
            found: What it is like, where that was just looked at: then records that are gone by now
                may lie after the mark, which reading finds out.
        """
        mark = self._isolated.marks.get(real)
        if found and mark and mark.id == found.id and mark.offsets.keys() == found.leaders.keys():
            return dict(mark.offsets)
        found, starts = self._reader.topic(real), self._reader.starts(real)
        if mark is None or found is None or found.id != mark.id:
            return starts
        return {part: max(mark.offsets.get(part, start), start) for part, start in starts.items()}

    def _collect(
        self, topic: str, n: int, timeout: float, where: Callable[[Record], bool] | None
    ) -> tuple[list[Record], Offsets, FirstLook]:
        """Return the records for which *where* is true, *n* of them or more.

        Also, up to where the topic was read, and what it is like, with what was there at once where
        nothing else was waited for.
        """
        real, deadline = self._isolated.topic(topic), now() + timeout
        found: list[Record] = []

        def enough() -> bool:
            return self._goes_on() and len(found) >= n

        with probe_records.collected(self._isolated.namespace.config, real, found):
            look, begin = self._begin_to_read(real, timeout)
            found += [record for record in look.records if where is None or where(record)]
            if look.topic and not enough():
                left = max(0.0, deadline - now())
                look = look._replace(is_all=False)
                for record in self._reader.read(real, begin, left, enough, look.topic):
                    if where is None or where(record):
                        found.append(record)
        return found, begin, look

    def _begin_to_read(self, real: str, timeout: float) -> tuple[FirstLook, Offsets]:
        """Return a topic, waiting for it, what was read, and up to where."""
        mark = self._isolated.marks.get(real)
        position = dict(mark.offsets) if mark else {}

        def is_marked(topic: Topic) -> bool:
            is_same = mark is not None and mark.id == topic.id
            return is_same and position.keys() == topic.leaders.keys()

        look = self._reader.find_and_read(real, position, is_marked)
        if look.topic and is_marked(look.topic):
            return look, position
        there = look.topic or self._wait_for_topic(real, timeout)
        return FirstLook(there), self._begin(real, there) if there else {}

    def _wait_for_topic(self, real: str, timeout: float) -> Topic | None:
        """Wait for a topic that the application's first record will create."""
        try:
            return wait_for(lambda: (self._goes_on() and self._reader.topic(real)) or None, timeout)
        except TimeoutError:
            return None

    def _explain(
        self,
        topic: str,
        what: str,
        where: Callable[[Record], bool] | None,
        group: str | None = None,
    ) -> str:
        real = self._isolated.topic(topic)
        begin = self._begin(real) if self._reader.partitions(real) else {}
        return assertion_messages.explain(self._isolated.clients, real, what, begin, where, group)
