"""Reading topics from explicit offsets, without a group: the first record after milliseconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.services.kafka.library import TopicPartition
from pytest_berth.services.kafka.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_berth.services.kafka.library import KafkaConsumer

Offsets = dict[int, int]
_POLL = 0.1


@dataclass(frozen=True)
class Reader:
    """Reads topics with one consumer; only what transactions have committed is seen."""

    consumer: KafkaConsumer

    def partitions(self, topic: str) -> list[int]:
        """Return a topic's partitions, none where there is no such topic."""
        return sorted(self.consumer.partitions_for_topic(topic) or ())

    def starts(self, topic: str) -> Offsets:
        """Return the offset of the first record that is kept, by partition."""
        return _by_partition(self.consumer.beginning_offsets(self._all(topic)))

    def ends(self, topic: str) -> Offsets:
        """Return the offset of the next record to come, by partition."""
        return _by_partition(self.consumer.end_offsets(self._all(topic)))

    def since(self, topic: str, timestamp: int) -> Offsets:
        """Return the offset of the first record with that timestamp or a later one."""
        partitions = self._all(topic)
        found = self.consumer.offsets_for_times(dict.fromkeys(partitions, timestamp))
        ends = self.ends(topic)
        return {
            each.partition: found[each].offset if found.get(each) else ends[each.partition]
            for each in partitions
        }

    def read(
        self, topic: str, offsets: Mapping[int, int], timeout: float, enough: Callable[[], bool]
    ) -> Iterator[Record]:
        """Yield records as they come, until there are enough or the time is over.

        Args:
            topic: The topic.
            offsets: Where to begin, by partition; those that are left out are not read.
            timeout: Seconds to wait for further records.
            enough: Asked whenever there is nothing to read at the moment, and before that.
        """
        deadline = time.monotonic() + timeout
        self._seek(topic, offsets)
        while not enough():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            polled = self.consumer.poll(max(1, int(min(remaining, _POLL) * 1000)))
            for batch in polled.values():
                yield from map(_record, batch)

    def read_to(
        self, topic: str, offsets: Mapping[int, int], ends: Mapping[int, int], timeout: float
    ) -> list[Record]:
        """Return all records from offsets up to others, which are there already."""
        behind = {part: at for part, at in offsets.items() if at < ends.get(part, 0)}
        wanted = {TopicPartition(topic, part): ends[part] for part in behind}

        def reached() -> bool:
            return all(self.consumer.position(part) >= end for part, end in wanted.items())

        if not behind:
            return []
        found = list(self.read(topic, behind, timeout, reached))
        return [record for record in found if record.offset < ends[record.partition]]

    def _seek(self, topic: str, offsets: Mapping[int, int]) -> None:
        self.consumer.assign([TopicPartition(topic, part) for part in offsets])
        for part, offset in offsets.items():
            self.consumer.seek(TopicPartition(topic, part), offset)

    def _all(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, part) for part in self.partitions(topic)]


def _by_partition(offsets: Mapping[TopicPartition, int]) -> Offsets:
    return {part.partition: offset for part, offset in sorted(offsets.items())}


def _record(message: object) -> Record:
    # kafka-python's ConsumerRecord has no types.
    get = message.__getattribute__
    return Record(
        topic=get("topic"),
        partition=get("partition"),
        offset=get("offset"),
        timestamp=get("timestamp"),
        key=get("key"),
        value=get("value"),
        headers=tuple(tuple(pair) for pair in get("headers")),
    )
