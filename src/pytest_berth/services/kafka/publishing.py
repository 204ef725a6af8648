"""Publishing a record, and waiting until the broker has it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import ignoring
from pytest_berth.services.kafka.connection import require
from pytest_berth.services.kafka.kafka_python import (
    MemoryRecordsBuilder,
    errors,
    murmur2,
    producer_messages,
)
from pytest_berth.services.kafka.record import Record
from pytest_berth.services.kafka.topics import NOT_YET
from pytest_berth.waiting import now, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.services.kafka.brokers import Brokers
    from pytest_berth.services.kafka.topics import Topic

_ACKNOWLEDGED_WITHIN = 10.0
_ALL = -1
# Bytes of a batch; its first record may be longer.
_SMALL, _LARGE = 1 << 14, 1 << 20
_ANY = random.SystemRandom()  # the test's own random numbers stay as they are
# All that such an answer leaves open is whether to ask again.
_REFUSED = (*NOT_YET, errors.NotEnoughReplicasError)


def publish(brokers: Brokers, record: Record, known: Topic | None = None) -> Record:
    """Publish a record, and return it as the broker has it.

    Args:
        brokers: Where.
        record: Its offset is not known yet; its partition follows from the key where it is -1.
        known: The topic as it was some time ago, None where that is not known. A record that may
            go to any of its partitions is sent there at once where there is but one broker: where
            that is wrong by now, it refuses the record, and the topic is looked at. One of several
            may be gone. A key's partition follows from how many there are now.

    Raises:
        TimeoutError: There is no such topic, and the broker creates none.
        kafka.errors.KafkaError: The broker refuses it.
        OSError: There is no answer.
    """
    deadline = now() + _ACKNOWLEDGED_WITHIN
    part = _place(record, known) if known is not None and known.is_led else None
    if known is not None and part is not None and len(brokers.nodes()) == 1:
        with ignoring(*_REFUSED, why="the topic is looked at anew"):
            return _send(brokers, record, part, known.leaders[part])

    def send() -> Record:
        leaders = _leaders(brokers, record.topic)
        part = _partition(record, sorted(leaders))
        return _send(brokers, record, part, leaders[part])

    return wait_for(
        send,
        max(0.0, deadline - now()),
        interval=0.002,
        ignore=_REFUSED,
        message=f"the topic {record.topic!r} to publish to",
    )


def produce(brokers: Brokers, topic: str, part: int, node: int, records: Sequence[Record]) -> None:
    """Publish records to a partition as they are, but for their offsets.

    Args:
        brokers: Where.
        topic: The topic.
        part: The partition.
        node: The broker that leads it.
        records: The records, in their order.
    """
    left = list(records)
    while left:
        builder = _builder(_LARGE)
        while left and builder.append(
            left[0].timestamp, left[0].key, left[0].value, list(left[0].headers)
        ):
            del left[0]
        builder.close()
        _produced(brokers, topic, part, node, bytes(builder.buffer()))


def _leaders(brokers: Brokers, topic: str) -> dict[int, int]:
    (described,) = brokers.metadata([topic], create=True).topics
    require(described.error_code, topic)
    return {each.partition_index: each.leader_id for each in described.partitions}


def _place(record: Record, known: Topic) -> int | None:
    """Return the partition of a record; None where it depends on how many there are now."""
    if record.partition in known.leaders:
        return record.partition
    if record.partition < 0 and record.key is None:
        return _ANY.choice(sorted(known.leaders))
    return None


def _partition(record: Record, partitions: list[int]) -> int:
    """Choose the partition as Java's producer does, and those that follow it."""
    if record.partition in partitions:
        return record.partition
    if record.partition >= 0:
        raise ValueError(
            f"the topic {record.topic!r} has no partition {record.partition}, but"
            f" {len(partitions)}, from 0"
        )
    if record.key is None:
        return _ANY.choice(partitions)
    hashed: int = murmur2(record.key) & 0x7FFFFFFF
    return partitions[hashed % len(partitions)]


def _send(brokers: Brokers, record: Record, part: int, node: int) -> Record:
    # The time is the test's, frozen or not, as that of its application's producer would be.
    at = int(time.time() * 1000)
    answer = _produced(brokers, record.topic, part, node, _batch(record, at))
    if answer.log_append_time_ms >= 0:
        at = answer.log_append_time_ms
    return Record(
        record.topic, part, answer.base_offset, at, record.key, record.value, record.headers
    )


def _produced(brokers: Brokers, topic: str, part: int, node: int, batch: bytes) -> Any:
    """Send a batch, and return the broker's answer."""
    message = producer_messages.ProduceRequest
    data = message.TopicProduceData(
        name=topic,
        partition_data=[message.TopicProduceData.PartitionProduceData(index=part, records=batch)],
    )
    # Newer versions know topics by their ids only.
    request = message(
        transactional_id=None,
        acks=_ALL,
        timeout_ms=int(_ACKNOWLEDGED_WITHIN * 1000),
        topic_data=[data],
        max_version=12,
    )
    (answer,) = brokers.ask_once(request, node).responses[0].partition_responses
    require(answer.error_code, answer.error_message)
    return answer


def _batch(record: Record, at: int) -> bytes:
    builder = _builder(_SMALL)
    builder.append(at, record.key, record.value, list(record.headers))
    builder.close()
    return bytes(builder.buffer())


def _builder(size: int) -> Any:
    return MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=size)
