"""Tests of a Kafka that holds what a session fixture has published."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaProducer

if TYPE_CHECKING:
    from pytest_berth import KafkaProbe

TESTS = range(int(os.environ["BENCHMARK_TESTS"]))


@pytest.fixture(scope="session", autouse=True)
def _records(kafka_bootstrap: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap)
    for number in range(int(os.environ["BENCHMARK_RECORDS"])):
        producer.send("seeded", str(number).encode())
    producer.close()


@pytest.mark.parametrize("number", TESTS)
def test_untouched(kafka_probe: KafkaProbe, number: int) -> None:
    pass


@pytest.mark.parametrize("number", TESTS)
def test_small(kafka_probe: KafkaProbe, kafka_topic: str, number: int) -> None:
    kafka_probe.publish(kafka_topic, {"order": number})
