"""The application's own client may be another one than ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import Consumer, Producer

from pytest_berth.waiting import wait_for, wait_for_async

if TYPE_CHECKING:
    from pytest_berth.services.kafka.probe import Probe


def test_an_application_with_confluent_kafka(
    kafka_bootstrap: str, kafka_probe: Probe, kafka_topic: str
) -> None:
    group = kafka_probe.group()
    consumer = Consumer(
        {
            "bootstrap.servers": kafka_bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    try:
        kafka_probe.publish(kafka_topic, {"order": 1}, key="o1")
        consumer.subscribe([kafka_topic])
        message = wait_for(lambda: consumer.poll(0.1), 20)
        assert message.value() == b'{"order":1}'
        kafka_probe.wait_assigned(group, kafka_topic)
        consumer.commit(message, asynchronous=False)
        kafka_probe.wait_caught_up(group, kafka_topic)
    finally:
        consumer.close()
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    producer.produce(kafka_topic, b"from the application", key=b"o2")
    assert producer.flush(60) == 0
    record = kafka_probe.expect_one(kafka_topic, where=lambda record: record.key == b"o2")
    assert record.text() == "from the application"


def test_an_application_with_aiokafka(
    kafka_bootstrap: str, kafka_probe: Probe, kafka_topic: str
) -> None:
    group = kafka_probe.group()
    kafka_probe.publish(kafka_topic, {"order": 1})

    async def application() -> bytes:
        consumer = AIOKafkaConsumer(
            kafka_topic,
            bootstrap_servers=kafka_bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
        await producer.start()
        await consumer.start()
        try:
            message = await asyncio.wait_for(consumer.getone(), 20)
            await consumer.commit()
            await wait_for_async(lambda: kafka_probe.lag(group, kafka_topic) == 0, 60)
            await producer.send_and_wait(kafka_topic, b"handled", key=b"answer")
            return bytes(message.value)
        finally:
            await consumer.stop()
            await producer.stop()

    assert asyncio.run(application()) == b'{"order":1}'
    kafka_probe.expect_one(kafka_topic, where=lambda record: record.key == b"answer")
