"""How fixtures get at the run: its broker, the worker's place on it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_berth.lifecycle.state import BERTH
from pytest_berth.services.kafka.options import TOPICS
from pytest_berth.services.kafka.service import KAFKA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.service import Server, Source
    from pytest_berth.services.kafka.workspace import Workspace

WORKSPACE = pytest.StashKey["Workspace"]()
_OWN = pytest.StashKey[int]()


@dataclass(frozen=True)
class KafkaServer:
    """The broker that tests run against.

    Attributes:
        source: ``"external"``, ``"container"`` or ``"local"``.
        host: Host name or address.
        port: TCP port.
        version: Such as ``"4.1.0"``; ``"?"`` where the broker does not tell.
        detail: Image, Java, or the given bootstrap servers.
    """

    source: str
    host: str
    port: int
    version: str
    detail: str
    _server: Server = field(repr=False)
    _source: Source = field(repr=False)

    def log(self) -> str:
        """Return everything that the broker has logged; empty for an external one."""
        return self._source.log(self._server, 0)


def shared_server(config: pytest.Config) -> KafkaServer:
    """Return the broker that this worker shares, started if need be."""
    return _handle(config, config.stash[BERTH].server(KAFKA))


@contextmanager
def shared_workspace(config: pytest.Config) -> Iterator[Workspace]:
    """Open the worker's place on the broker that it shares."""
    berth = config.stash[BERTH]
    config.stash[WORKSPACE] = _workspace(config, berth.server(KAFKA))
    try:
        yield config.stash[WORKSPACE]
    finally:
        del config.stash[WORKSPACE]


@contextmanager
def own_server(config: pytest.Config) -> Iterator[KafkaServer]:
    """Start a broker for one test, and stop it when that test ends."""
    berth = config.stash[BERTH]
    number = config.stash[_OWN] = config.stash.get(_OWN, 0) + 1
    server = berth.server(KAFKA, f"{berth.run.worker}-test{number}")
    try:
        yield _handle(config, server)
    finally:
        berth.manager.end(server)


def own_workspace(config: pytest.Config, server: KafkaServer) -> Workspace:
    """Return the place of a test on its own broker."""
    return _workspace(config, server._server)


@contextmanager
def late_slate(config: pytest.Config) -> Iterator[None]:
    """Empty the run's topics behind a test that may ask for Kafka only while it runs.

    As long as no test has needed Kafka there is nothing to guard, and nothing is started.
    """
    topics = config.stash[BERTH].settings[TOPICS]
    yield
    opened = config.stash.get(WORKSPACE, None)
    if opened and topics:
        with opened.slate(topics, "late"):
            pass


def _workspace(config: pytest.Config, server: Server) -> Workspace:
    from pytest_berth.services.kafka.items import is_prefixed
    from pytest_berth.services.kafka.workspace import Workspace

    berth = config.stash[BERTH]
    return Workspace(berth, server, is_prefixed(berth))


def _handle(config: pytest.Config, server: Server) -> KafkaServer:
    return KafkaServer(
        server.source,
        server.host,
        server.port,
        server.version,
        server.detail,
        server,
        config.stash[BERTH].manager.source(server),
    )
