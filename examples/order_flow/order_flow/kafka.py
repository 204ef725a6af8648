"""Kafka, by confluent-kafka: where it is, what things are called there, sending that is certain."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

DELIVERED_WITHIN_MS = 10_000


@dataclass(frozen=True)
class Outgoing:
    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


def producer() -> Producer:
    """A producer; as a context manager it sends what is left, and ends its threads."""
    return Producer(_bootstrap() | {"delivery.timeout.ms": DELIVERED_WITHIN_MS})


def consumer(group: str, topic: str) -> Consumer:
    """A consumer that begins with the first record, and commits only when told to."""
    settings = {"group.id": name(group), "auto.offset.reset": "earliest"}
    made = Consumer(_bootstrap() | settings | {"enable.auto.commit": False})
    made.subscribe([name(topic)])
    return made


def name(plain: str) -> str:
    """What a topic or a group is called here: several installations may share one Kafka."""
    return os.environ.get("KAFKA_PREFIX", "") + plain


def send(producer: Producer, records: Iterable[Outgoing]) -> None:
    """Send records and wait until Kafka has them all; raise `KafkaException` when it has not."""
    failed: list[KafkaError] = []
    for record in records:
        producer.produce(
            name(record.topic),
            record.value,
            record.key,
            headers=dict(record.headers),
            on_delivery=lambda error, _record: failed.append(error) if error else None,
        )
    producer.flush()
    if failed:
        raise KafkaException(failed[0])


def _bootstrap() -> dict[str, object]:
    return {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"]}
