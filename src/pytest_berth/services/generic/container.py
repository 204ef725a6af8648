"""The running container of a service, as the engine knows it: its ports, its log, commands."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import NotRestoredError, ServiceError
from pytest_berth.sources import engine_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_berth.api import Server
    from pytest_berth.sources.container_engine import Engine


class RunningContainer:
    """A container that berth has started, looked at anew with each call.

    Args:
        engine: The engine that runs it.
        server: What berth knows of it.
    """

    def __init__(self, engine: Engine, server: Server) -> None:
        self._engine = engine
        self._server = server

    def require(self) -> None:
        """Require that what answers at the server's ports is this very container.

        As long as it runs, the engine holds its ports, and nobody else can listen there.

        Raises:
            ConnectionError: It has ended.
            NotRestoredError: It was started anew by somebody, and is reached elsewhere.
        """
        server = self._server
        running = self._running()
        bound = running.attrs["NetworkSettings"]["Ports"] or {}
        published = [int(each["HostPort"]) for found in bound.values() for each in found or ()]
        if self._engine.maps_ports and server.port not in published:
            raise NotRestoredError(
                f"the container of {server.key} is not reached at port {server.port} any more.",
                why=f"its ports are now: {', '.join(map(str, published)) or 'none'}",
                remedy="let nobody start it anew while tests run",
            )

    def log(self) -> str:
        """Return what it has printed since it was last started."""
        with _told():
            running = self._running()
            began = _seconds(running.attrs["State"]["StartedAt"])
            return str(running.logs(since=began).decode(errors="replace"))

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in it, and return its status and what it has printed."""
        with _told():
            status, output = self._running().exec_run(list(command))
        return status, output.decode(errors="replace")

    def restart(self) -> None:
        """End its processes at once, and start it again: what is on its disk stays."""
        with _told():
            self._running().restart(timeout=0)

    def _running(self) -> Any:
        with _told():
            found = self._engine.containers.get(self._server.handle["container"])
        if found.attrs["State"]["Status"] != "running":
            raise ConnectionError(f"the container is {found.attrs['State']['Status']}")
        return found


def of(engine: Engine, server: Server) -> RunningContainer:
    """Return the container of a server.

    Raises:
        ServiceError: It has none: it is given by URL.
    """
    if server.source != "container":
        raise ServiceError(
            f"nothing can be run in {server.service}: it is not in a container of berth's.",
            why=f"it comes from the source {server.source!r}: {server.detail}",
            remedy=f"leave berth_{server.service}_url out, and berth starts a container",
        )
    return RunningContainer(engine, server)


@contextmanager
def _told() -> Iterator[None]:
    """Raise a failed connection in place of the engine's error: the container is gone, or ends."""
    try:
        yield
    except engine_errors.api() as error:
        raise ConnectionError(f"the engine says: {error.explanation or error}") from error


def _seconds(at: str) -> float:
    """Return the engine's time, such as ``2026-11-28T14:30:29.12345Z``, in seconds since 1970."""
    whole, _, fraction = at.rstrip("Z").partition(".")
    began = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return began.timestamp() + float(f"0.{fraction[:6] or 0}")
