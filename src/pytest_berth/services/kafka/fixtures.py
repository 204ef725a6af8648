"""The fixtures of Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

    from pytest_berth.isolation.running_server import RunningServer
    from pytest_berth.services.kafka.async_probe import AsyncProbe
    from pytest_berth.services.kafka.namespace import Slate, Workspace
    from pytest_berth.services.kafka.probe import Probe


@pytest.fixture(scope="session")
def kafka_server(pytestconfig: pytest.Config) -> RunningServer:
    """The Kafka broker of this run: where it runs, its version, its log.

    Scope: session; with ``berth_kafka_scope = test`` or the marker ``berth_kafka(scope="test")``,
    function.

    Raises:
        NoSourceError: No source can serve; with ``berth_missing = skip`` the test is skipped.
        StartError: It did not become ready within ``berth_start_timeout`` seconds.
    """
    from pytest_berth.isolation.running_server import shared_server
    from pytest_berth.services.kafka.service import KAFKA

    return shared_server(pytestconfig, KAFKA)


@pytest.fixture(scope="session")
def _kafka_workspace(
    pytestconfig: pytest.Config, kafka_server: RunningServer
) -> Iterator[Workspace]:
    """The worker's place on the broker."""
    from pytest_berth.services.kafka.access import shared_workspace

    with shared_workspace(pytestconfig) as workspace:
        yield workspace


@pytest.fixture(scope="session")
def kafka_bootstrap(_kafka_workspace: Workspace) -> str:
    """Bootstrap servers of the broker: ``127.0.0.1:15092``.

    Scope: session.
    """
    return _kafka_workspace.bootstrap


@pytest.fixture
def _kafka_own_server(pytestconfig: pytest.Config) -> Iterator[RunningServer]:
    """`kafka_server` for a test that has a broker of its own."""
    from pytest_berth.isolation.running_server import own_server
    from pytest_berth.services.kafka.service import KAFKA

    with own_server(pytestconfig, KAFKA) as server:
        yield server


@pytest.fixture
def _kafka_own_workspace(pytestconfig: pytest.Config, kafka_server: RunningServer) -> Workspace:
    """`_kafka_workspace` for a test that has a broker of its own."""
    from pytest_berth.services.kafka.access import own_workspace

    return own_workspace(pytestconfig, kafka_server)


@pytest.fixture
def _kafka_own_bootstrap(_kafka_workspace: Workspace) -> str:
    """`kafka_bootstrap` for a test that has a broker of its own."""
    return _kafka_workspace.bootstrap


@pytest.fixture
def _kafka_slate(request: pytest.FixtureRequest, _kafka_workspace: Workspace) -> Iterator[Slate]:
    """The test's clean slate: its clients, and its topics with fixed names, emptied around it."""
    from pytest_berth.services.kafka.requirements import topics_of

    node = request.node
    with _kafka_workspace.slate(topics_of(node), node.name, node.nodeid) as slate:
        yield slate


@pytest.fixture
def _kafka_late_slate(pytestconfig: pytest.Config) -> Iterator[None]:
    """The clean slate of a test that may ask for Kafka only while it runs."""
    from pytest_berth.services.kafka.access import late_slate

    with late_slate(pytestconfig):
        yield


@pytest.fixture
def kafka_admin(_kafka_slate: Slate) -> KafkaAdminClient:
    """kafka-python's admin client.

    Scope: function; closed with the test.
    """
    return _kafka_slate.clients.admin


@pytest.fixture
def kafka_producer(_kafka_slate: Slate) -> KafkaProducer:
    """kafka-python's producer, which sends at once and takes bytes.

    Scope: function; closed with the test, within 1 s also where the broker is gone.
    """
    return _kafka_slate.clients.producer


@pytest.fixture
def kafka_consumer(_kafka_slate: Slate) -> Iterator[KafkaConsumer]:
    """kafka-python's consumer, in a group of this test's own, not subscribed yet.

    Scope: function. It reads from the beginning, commits only when told, and is closed with the
    test, within 1 s also where the broker is gone.
    """
    with _kafka_slate.clients.consumer(group_id=_kafka_slate.name("group")) as consumer:
        yield consumer


@pytest.fixture
def kafka_topic(kafka_probe: Probe) -> str:
    """Name of a topic of this test's own, with one partition.

    Scope: function.
    """
    return kafka_probe.topic()


@pytest.fixture
def kafka_probe(_kafka_slate: Slate) -> Probe:
    """Publishes, and asserts what has been published.

    Scope: function.
    """
    from pytest_berth.services.kafka.probe import Probe

    return Probe(_kafka_slate)


@pytest.fixture
def kafka_async_probe(_kafka_slate: Slate) -> Iterator[AsyncProbe]:
    """`kafka_probe` for asyncio: its methods are awaited.

    Scope: function. It can be used in any event loop, and need not be closed.
    """
    from contextlib import closing

    from pytest_berth.services.kafka.async_probe import AsyncProbe
    from pytest_berth.services.kafka.async_threads import Threads

    with closing(Threads(_kafka_slate)) as threads:
        yield AsyncProbe(threads)
