"""What fixtures such as ``pg_server`` give to tests: a running server, shared or a test's own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.run.plugin_state import PLUGIN_STATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Server, Service
    from pytest_berth.run.server_manager import Manager

_OWN = pytest.StashKey[int]()


@dataclass(frozen=True)
class RunningServer:
    """The server that tests run against.

    Attributes:
        source: ``"external"``, ``"container"`` or ``"local"``.
        host: Host name, address, or directory or path of a unix socket.
        port: TCP port.
        version: Such as ``"17.6"``; ``"?"`` where the server does not tell.
        detail: Image, binaries, or account of the given URL.
    """

    source: str
    host: str
    port: int
    version: str
    detail: str
    _started: Server = field(repr=False)
    _manager: Manager = field(repr=False)

    @property
    def server(self) -> Server:
        """The server, or the one that has taken its place."""
        return self._manager.current(self._started)

    def log(self) -> str:
        """Return everything that the server has logged; empty for an external server."""
        server = self.server
        return self._manager.source(server).log(server, 0)


def shared_server(config: pytest.Config, service: Service) -> Any:
    """Return the server that this worker shares, started if need be."""
    return handle(config, service, config.stash[PLUGIN_STATE].server(service))


@contextmanager
def own_server(config: pytest.Config, service: Service) -> Iterator[Any]:
    """Start a server for one test, and stop it when that test ends."""
    berth = config.stash[PLUGIN_STATE]
    number = config.stash[_OWN] = config.stash.get(_OWN, 0) + 1
    server = berth.server(service, f"{berth.run.worker}-test{number}")
    try:
        yield handle(config, service, server)
    finally:
        berth.manager.end(server)


def handle(config: pytest.Config, service: Service, server: Server) -> Any:
    """Return what tests, and functions of the suite, are given of a server."""
    running = RunningServer(
        server.source,
        server.host,
        server.port,
        server.version,
        server.detail,
        server,
        config.stash[PLUGIN_STATE].manager,
    )
    return service.backend.running_server(running)
