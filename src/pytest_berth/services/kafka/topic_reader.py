"""Reading topics from explicit offsets, without a group: the first record after milliseconds.

Offsets alone decide what is read. Records' timestamps are of their producers' clocks, which tests
freeze.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import RecordError
from pytest_berth.services.kafka import topics
from pytest_berth.services.kafka.brokers import metadata_request
from pytest_berth.services.kafka.connection import require
from pytest_berth.services.kafka.kafka_python import (
    Fetcher,
    MemoryRecords,
    TopicPartition,
    consumer_messages,
    errors,
)
from pytest_berth.services.kafka.record import Record
from pytest_berth.waiting import now, pause, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_berth.services.kafka.brokers import Brokers
    from pytest_berth.services.kafka.topics import Offsets, Topic

_COMMITTED = consumer_messages.IsolationLevel.READ_COMMITTED
# A broker sends what comes at once; where there are several, each waits for its turn.
_WAITS_MS, _WAITS_BRIEFLY_MS = 100, 10
_MOST_BYTES = 50 << 20
_MOST_OF_A_PARTITION = 8 << 20
_SETTLES_WITHIN, _ASKS_AGAIN_AFTER = 10.0, 0.005


class FirstLook(NamedTuple):
    """What a topic has held at one moment.

    Attributes:
        topic: The topic; None where there is none that can be read.
        records: Its records, as far as they were read.
        is_all: Whether there were no others, not even of transactions that are open.
    """

    topic: Topic | None
    records: Sequence[Record] = ()
    is_all: bool = False


@dataclass(frozen=True)
class Reader:
    """Reads topics; only what transactions have committed is seen.

    Attributes:
        brokers: Where.
        most: Bytes of a partition that are asked for at once.
    """

    brokers: Brokers
    most: int = _MOST_OF_A_PARTITION

    def topic(self, topic: str) -> Topic | None:
        """Return a topic, None where there is none that can be read."""
        found = topics.find(self.brokers, [topic]).get(topic)
        return found if found and found.is_led else None

    def topics(self) -> list[str]:
        """Return the names of all topics but Kafka's own."""
        return sorted(topics.find(self.brokers))

    def partitions(self, topic: str) -> list[int]:
        """Return a topic's partitions, none where there is no such topic."""
        found = self.topic(topic)
        return sorted(found.leaders) if found else []

    def starts(self, topic: str) -> Offsets:
        """Return the offset of the first record that is kept, by partition."""
        return self._offsets(topic, topics.EARLIEST)

    def ends(self, topic: str, found: Topic | None = None) -> Offsets:
        """Return the offset of the next record to come, by partition.

        Args:
            topic: The topic.
            found: What it is like, where that was just looked at.
        """
        if found:
            with ignoring(*topics.NOT_YET, why="it is looked at anew"):
                return topics.offsets(self.brokers, [found], topics.LATEST)[topic]
        return self._offsets(topic, topics.LATEST)

    def find_and_read(
        self,
        topic: str,
        position: dict[int, int],
        fits: Callable[[Topic], bool],
    ) -> FirstLook:
        """Return a topic, and the records that are there already, in one round trip.

        Args:
            topic: The topic.
            position: Where to begin, by partition; moved on.
            fits: Tells whether the topic is that which the offsets are of: else it is not read.
        """
        if len(self.brokers.nodes()) > 1 or not position:
            return FirstLook(self.topic(topic))
        described, answer = self.brokers.ask_together(
            [metadata_request([topic]), _request(topic, position, list(position), 0, self.most)]
        )
        found = topics.described(described).get(topic)
        if found is None or not found.is_led:
            return FirstLook(None)
        if not fits(found):
            return FirstLook(found)
        ends = dict[int, int]()
        records, refused = self._taken(topic, position, answer, ends)
        is_all = not refused and all(at == ends.get(part) for part, at in position.items())
        return FirstLook(found, records, is_all)

    def read(
        self,
        topic: str,
        position: dict[int, int],
        timeout: float,
        enough: Callable[[], bool],
        found: Topic | None = None,
    ) -> Iterator[Record]:
        """Yield records as they come, until there are enough or the time is over.

        However short it is, each partition answers once: a broker that is busy, or has just been
        given a partition, answers later.

        Args:
            topic: The topic.
            position: Where to begin, by partition, and moved on; those that are left out are not
                read.
            timeout: Seconds to wait for further records.
            enough: Asked whenever there is nothing to read at the moment, and before that.
            found: What the topic is like, where that was just looked at.
        """
        begun, have_answered = now(), False
        while not enough():
            remaining = begun + timeout - now()
            if remaining <= 0 and (have_answered or remaining <= -_SETTLES_WITHIN):
                return
            records, answered = self._fetch(topic, position, remaining, found)
            found = None
            have_answered |= answered
            yield from records
            if not records:
                pause(_ASKS_AGAIN_AFTER)

    def read_to(
        self,
        topic: str,
        offsets: Mapping[int, int],
        ends: Mapping[int, int],
        timeout: float,
        found: Topic | None = None,
    ) -> list[Record]:
        """Return all records from offsets up to others, which are there already.

        Args:
            topic: The topic.
            offsets: Where to begin, by partition; those that are left out are not read.
            ends: Where to end.
            timeout: Seconds to wait.
            found: What the topic is like, where that was just looked at.
        """
        position = {part: at for part, at in offsets.items() if at < ends.get(part, 0)}
        deadline, records = now() + timeout, list[Record]()
        while position and now() < deadline:
            some, _ = self._fetch(topic, position, deadline - now(), found)
            if not some:
                pause(_ASKS_AGAIN_AFTER)
            records += some
            position = {part: at for part, at in position.items() if at < ends[part]}
            found = None
        return [record for record in records if record.offset < ends[record.partition]]

    def read_rest(
        self, topic: str, position: dict[int, int], timeout: float, found: Topic | None = None
    ) -> list[Record]:
        """Return all records from offsets on that are there already.

        Where they end, the broker says with its first answer for a partition.

        Args:
            topic: The topic.
            position: Where to begin, by partition; moved on.
            timeout: Seconds to wait, such as for the end of a transaction.
            found: What the topic is like, where that was just looked at.
        """
        deadline, records, ends = now() + timeout, list[Record](), dict[int, int]()
        while True:
            some, have_answered = self._fetch(topic, position, 0, found, ends)
            records += some
            is_over = have_answered and all(at >= ends.get(p, 0) for p, at in position.items())
            if is_over or now() > deadline:
                return [each for each in records if each.offset < ends.get(each.partition, 0)]
            if not some:
                pause(_ASKS_AGAIN_AFTER)
            found = None

    def first(
        self,
        topic: str,
        offsets: Mapping[int, int],
        ends: Mapping[int, int],
        most: int,
        timeout: float,
    ) -> list[Record]:
        """Return the first records from offsets up to others, as far as they are to be had now."""
        position = {part: at for part, at in offsets.items() if at < ends.get(part, 0)}
        deadline, found = now() + timeout, list[Record]()
        while position and len(found) < most and now() < deadline:
            before = dict(position)
            records, have_answered = self._fetch(topic, position, deadline - now())
            found += records
            if have_answered and position == before:
                break  # what comes next is not committed
            if not have_answered:
                pause(_ASKS_AGAIN_AFTER)
            position = {part: at for part, at in position.items() if at < ends[part]}
        return [record for record in found if record.offset < ends[record.partition]][:most]

    def _offsets(self, topic: str, at: int) -> Offsets:
        def ask() -> dict[str, Offsets]:
            found = topics.find(self.brokers, [topic])
            return topics.offsets(self.brokers, found.values(), at) or {topic: {}}

        return wait_for(ask, _SETTLES_WITHIN, ignore=topics.NOT_YET)[topic]

    def _fetch(
        self,
        topic: str,
        position: dict[int, int],
        within: float,
        found: Topic | None = None,
        ends: dict[int, int] | None = None,
    ) -> tuple[list[Record], bool]:
        """Return what there is now, and whether all partitions have answered; move the position on.

        A broker that has just been given a partition answers for it a little later.

        Args:
            topic: The topic.
            position: Where to begin, by partition; moved on.
            within: Seconds in which a first record may come; with 0, none is waited for.
            found: What the topic is like, where that was just looked at.
            ends: Is told where partitions end, those open transactions included, if it has none.
        """
        found = found or self.topic(topic)
        if found is None:
            return [], True
        wanted: dict[int, list[int]] = {}
        for part in position:
            leader = found.leaders.get(part)
            if leader is not None:
                wanted.setdefault(leader, []).append(part)
        longest = _WAITS_MS if len(wanted) < 2 else _WAITS_BRIEFLY_MS
        records: list[Record] = []
        refused = position.keys() - {part for parts in wanted.values() for part in parts}
        for node, parts in wanted.items():
            # What is there already has come after the first wait.
            waits = 0 if records or not within else max(1, min(longest, int(within * 1000)))
            answer = self.brokers.ask(_request(topic, position, parts, waits, self.most), node)
            some, not_yet = self._taken(topic, position, answer, ends)
            records += some
            refused |= not_yet
        return records, not refused

    def _taken(
        self,
        topic: str,
        position: dict[int, int],
        answer: Any,
        ends: dict[int, int] | None = None,
    ) -> tuple[list[Record], set[int]]:
        """Return the records of an answer, and the partitions that the broker has not yet."""
        records, refused = list[Record](), set[int]()
        for response in answer.responses:
            for partition in response.partitions:
                if errors.for_code(partition.error_code) in topics.NOT_YET:
                    refused.add(partition.partition_index)
                else:
                    records += self._unpack(topic, position, partition)
                if ends is not None and partition.high_watermark >= 0:
                    ends.setdefault(partition.partition_index, partition.high_watermark)
        return records, refused

    def _unpack(self, topic: str, position: dict[int, int], found: Any) -> list[Record]:
        part = found.partition_index
        try:
            require(found.error_code, topic)
        except errors.OffsetOutOfRangeError:
            # Its records were deleted, or it was made anew.
            position[part] = self.starts(topic).get(part, 0)
            return []
        unpacked = Fetcher.PartitionRecords(
            position[part],
            TopicPartition(topic, part),
            MemoryRecords(found.records or b""),
            isolation_level=_COMMITTED,
            aborted_transactions=found.aborted_transactions,
        )
        try:
            records = [_record(message) for message in unpacked.take()]
        except errors.UnsupportedCodecError as error:
            raise RecordError(
                f"records of the topic {topic} are compressed, and no package here unpacks them.",
                why=str(error),
                remedy='pip install "kafka-python[lz4,snappy,zstd]", or the one that is named',
            ) from None
        position[part] = unpacked.next_fetch_offset
        return records


def _request(
    topic: str, position: Mapping[int, int], parts: list[int], waits: int, most: int
) -> Any:
    message = consumer_messages.FetchRequest
    asked = [
        message.FetchTopic.FetchPartition(
            partition=part,
            current_leader_epoch=-1,
            fetch_offset=position[part],
            last_fetched_epoch=-1,
            log_start_offset=-1,
            partition_max_bytes=most,
        )
        for part in parts
    ]
    # Newer versions know topics by their ids only.
    return message(
        replica_id=-1,
        max_wait_ms=waits,
        min_bytes=1,
        max_bytes=_MOST_BYTES,
        isolation_level=_COMMITTED,
        session_id=0,
        session_epoch=-1,
        topics=[message.FetchTopic(topic=topic, partitions=asked)],
        forgotten_topics_data=[],
        rack_id="",
        max_version=12,
    )


def _record(message: Any) -> Record:
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp=message.timestamp,
        key=message.key,
        value=message.value,
        headers=tuple(tuple(pair) for pair in message.headers),
    )
