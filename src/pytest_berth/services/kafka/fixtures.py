"""The fixtures of Kafka, besides those that every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

    from pytest_berth.services.kafka.async_probe import AsyncProbe
    from pytest_berth.services.kafka.namespace import IsolatedTest
    from pytest_berth.services.kafka.probe import Probe


@pytest.fixture
def kafka_admin(_kafka_isolation: IsolatedTest) -> KafkaAdminClient:
    """kafka-python's admin client.

    Scope: function; closed with the test.
    """
    return _kafka_isolation.clients.admin


@pytest.fixture
def kafka_producer(_kafka_isolation: IsolatedTest) -> KafkaProducer:
    """kafka-python's producer, which sends at once and takes bytes.

    Scope: function; closed with the test, within 1 s also where the broker is gone.
    """
    return _kafka_isolation.clients.producer


@pytest.fixture
def kafka_consumer(_kafka_isolation: IsolatedTest) -> Iterator[KafkaConsumer]:
    """kafka-python's consumer, in a group of this test's own, not subscribed yet.

    Scope: function. It reads from the beginning, commits only when told, and is closed with the
    test, within 1 s also where the broker is gone.
    """
    with _kafka_isolation.clients.consumer(group_id=_kafka_isolation.name("group")) as consumer:
        yield consumer


@pytest.fixture
def kafka_topic(kafka_probe: Probe) -> str:
    """Name of a topic of this test's own, with one partition.

    Scope: function.
    """
    return kafka_probe.topic()


@pytest.fixture
def kafka_probe(_kafka_isolation: IsolatedTest) -> Probe:
    """Publishes, and asserts what has been published.

    Scope: function.
    """
    from pytest_berth.services.kafka.probe import Probe

    return Probe(_kafka_isolation)


@pytest.fixture
def kafka_async_probe(_kafka_isolation: IsolatedTest) -> Iterator[AsyncProbe]:
    """`kafka_probe` for asyncio: its methods are awaited.

    Scope: function. It can be used in any event loop, and need not be closed.
    """
    from contextlib import closing

    from pytest_berth.services.kafka.async_probe import AsyncProbe
    from pytest_berth.services.kafka.async_threads import Threads

    with closing(Threads(_kafka_isolation)) as threads:
        yield AsyncProbe(threads)
