"""What tests are given of a service of any image: addresses by port, log, commands in it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_berth.api import Server
    from pytest_berth.isolation.running_server import RunningServer
    from pytest_berth.services.generic.container import RunningContainer
    from pytest_berth.services.generic.declaration import Declaration


class Port(int):
    """The number of the first port; called with a port's name, that one's number."""

    find: Callable[[str | int], int]

    def __call__(self, name: str | int = "") -> int:
        """Return where a port is reached; the first one without a name.

        Raises:
            SettingsError: There is no port of that name.
        """
        return self.find(name)


def reached_at(server: Server, declared: Declaration, inside: int) -> int:
    """Return where a port of the container is reached; a given server has the very numbers."""
    if inside == declared.first_port:
        return server.port
    return int(server.parameters.get(str(inside), inside))


def url(server: Server, declared: Declaration, port: str | int = "", scheme: str = "") -> str:
    """Return the URL of a port, of the first one without a name."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    number = reached_at(server, declared, declared.port(port))
    return f"{scheme or declared.scheme(port)}://{host}:{number}"


class GenericServer:
    """The server that tests run against.

    Args:
        running: What every service gives to tests.
        declared: What is declared of it.
        find: Returns the container of a server.

    Attributes:
        source: ``"container"`` or ``"external"``.
        host: Host name or address.
        port: The first port; ``port("smtp")`` is the one of that name.
        version: The image's tag.
        detail: The image, or the given URL.
        name: Its name.
    """

    def __init__(
        self,
        running: RunningServer,
        declared: Declaration,
        find: Callable[[Server], RunningContainer],
    ) -> None:
        self.source = running.source
        self.host = running.host
        self.port = Port(running.port)
        self.port.find = lambda name: reached_at(self.server, declared, declared.port(name))
        self.version = running.version
        self.detail = running.detail
        self.name = declared.name
        self._running = running
        self._declared = declared
        self._find = find

    def __repr__(self) -> str:
        """Return what it is and where."""
        return f"<{self.name} ({self.detail}) at {self.host}:{int(self.port)}>"

    @property
    def server(self) -> Server:
        """The server, or the one that has taken its place."""
        return self._running.server

    def url(self, port: str | int = "", scheme: str = "") -> str:
        """Return the URL of a port: ``url("http")`` is ``http://127.0.0.1:15025``.

        Args:
            port: Its name; the first one when left out.
            scheme: The scheme, where it is not the port's name; ``http`` for a port without a name.

        Raises:
            SettingsError: There is no port of that name.
        """
        return url(self.server, self._declared, port, scheme)

    def log(self) -> str:
        """Return everything that the server has logged; empty for one that is given by URL."""
        return self._running.log()

    def exec(self, *command: str) -> str:
        """Run a command in the container, and return what it has printed.

        Raises:
            subprocess.CalledProcessError: It ended with another status than 0.
            ConnectionError: The container has ended.
            ServiceError: The server is given by URL.
        """
        status, output = self.container().execute(command)
        if status:
            raise subprocess.CalledProcessError(status, command, output)
        return output

    def container(self) -> RunningContainer:
        """Return the container, for what is not here.

        Raises:
            ServiceError: The server is given by URL.
        """
        return self._find(self.server)
