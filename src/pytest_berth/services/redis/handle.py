"""How fixtures get at the run: its server, the worker's database number."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_berth.lifecycle.run import MAIN
from pytest_berth.lifecycle.state import BERTH
from pytest_berth.services.redis.service import REDIS
from pytest_berth.services.redis.slates import WORKSPACE, Sweeper
from pytest_berth.services.redis.workspace import workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.service import Server, Source
    from pytest_berth.services.redis.workspace import Workspace

_OWN = pytest.StashKey[int]()


@dataclass(frozen=True)
class RedisServer:
    """The server that tests run against.

    Attributes:
        source: ``"external"``, ``"container"`` or ``"local"``.
        host: Host name, address or path of the unix socket.
        port: TCP port.
        version: Such as ``"8.2.1"``.
        detail: Image, path of the program, or account of the given URL.
    """

    source: str
    host: str
    port: int
    version: str
    detail: str
    _server: Server = field(repr=False)
    _source: Source = field(repr=False)

    def log(self) -> str:
        """Return everything that the server has logged; empty for an external server."""
        return self._source.log(self._server, 0)


def shared_server(config: pytest.Config) -> RedisServer:
    """Return the server that this worker shares, started if need be."""
    return _handle(config, config.stash[BERTH].server(REDIS))


@contextmanager
def shared_workspace(config: pytest.Config) -> Iterator[Workspace]:
    """Open the worker's database number on the server that it shares."""
    berth = config.stash[BERTH]
    with workspace(berth, berth.server(REDIS), berth.run.worker) as opened:
        config.stash[WORKSPACE] = opened
        sweeper = config.pluginmanager.register(Sweeper())
        try:
            yield opened
        finally:
            config.pluginmanager.unregister(name=sweeper)
            del config.stash[WORKSPACE]


@contextmanager
def own_server(config: pytest.Config) -> Iterator[RedisServer]:
    """Start a server for one test, and stop it when that test ends."""
    berth = config.stash[BERTH]
    number = config.stash[_OWN] = config.stash.get(_OWN, 0) + 1
    server = berth.server(REDIS, f"{berth.run.worker}-test{number}")
    try:
        yield _handle(config, server)
    finally:
        berth.manager.end(server)


@contextmanager
def own_workspace(config: pytest.Config, server: RedisServer) -> Iterator[Workspace]:
    """Open the only database number in use on a test's own server."""
    with workspace(config.stash[BERTH], server._server, MAIN) as opened:
        yield opened


def _handle(config: pytest.Config, server: Server) -> RedisServer:
    return RedisServer(
        server.source,
        server.host,
        server.port,
        server.version,
        server.detail,
        server,
        config.stash[BERTH].manager.source(server),
    )
