"""What tells that a service of any image is ready: a port, an HTTP status, its log, a command."""

from __future__ import annotations

import socket
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from pytest_berth.errors import NotReadyError

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from pytest_berth.services.generic.container import RunningContainer

T = TypeVar("T")
_ANSWERS_WITHIN = 2.0
# The engine listens at a published port whether anything in the container does: where nothing does
# there, it closes the connection at once.
_IS_CLOSED_WITHIN = 0.2


class Place(NamedTuple):
    """Where a server is looked at.

    Attributes:
        host: Its address on this machine.
        port: Returns where a port of the container is reached.
        container: Returns the container; raises where there is none.
    """

    host: str
    port: Callable[[int], int]
    container: Callable[[], RunningContainer]


class Check(Protocol):
    """One way to tell that a server is ready."""

    def __call__(self, place: Place) -> None:
        """Look once.

        Raises:
            NotReadyError: It is not ready yet.
        """


class PortAnswers(NamedTuple):
    """A TCP port takes connections, and keeps them open."""

    port: int

    def __call__(self, place: Place) -> None:
        """Connect once."""
        address = (place.host, place.port(self.port))
        try:
            with socket.create_connection(address, timeout=_ANSWERS_WITHIN) as client:
                client.settimeout(_IS_CLOSED_WITHIN)
                is_open = _is_open(client)
        except OSError as error:
            raise NotReadyError(f"port {self.port}: {error}") from error
        if not is_open:
            raise NotReadyError(f"port {self.port}: nothing listens in the container")


class HttpAnswers(NamedTuple):
    """A request over HTTP has a status: the one that is given, or any below 400."""

    port: int
    path: str
    status: int = 0

    def __call__(self, place: Place) -> None:
        """Send the request once."""
        found = _status(place.host, place.port(self.port), self.path)
        if found != self.status if self.status else found >= 400:
            raise NotReadyError(f"GET {self.path} has the status {found}")


class LogShows(NamedTuple):
    """A regular expression is found in what the container has printed."""

    pattern: re.Pattern[str]

    def __call__(self, place: Place) -> None:
        """Read the log once."""
        if not self.pattern.search(_asked(place.container().log)):
            raise NotReadyError(f"its log has nothing that matches {self.pattern.pattern!r}")


class CommandSucceeds(NamedTuple):
    """A command in the container ends with status 0."""

    command: tuple[str, ...]

    def __call__(self, place: Place) -> None:
        """Run the command once."""
        container = place.container()
        status, output = _asked(lambda: container.execute(self.command))
        if status:
            told = output.strip().splitlines()[-1:] or [""]
            raise NotReadyError(f"{' '.join(self.command)} ended with status {status}: {told[0]}")


class AllPortsAnswer(NamedTuple):
    """Each port takes connections."""

    ports: tuple[int, ...]

    def __call__(self, place: Place) -> None:
        """Connect to each."""
        for port in self.ports:
            PortAnswers(port)(place)


def _is_open(client: socket.socket) -> bool:
    try:
        return bool(client.recv(1))
    except TimeoutError:  # it waits for the client to begin
        return True


def _status(host: str, port: int, path: str) -> int:
    connection = HTTPConnection(host, port, timeout=_ANSWERS_WITHIN)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise NotReadyError(f"GET {path}: {error or type(error).__name__}") from error
    finally:
        connection.close()


def _asked(ask: Callable[[], T]) -> T:
    """Return an answer of the engine; a container that has ended has none."""
    try:
        return ask()
    except ConnectionError as error:
        raise NotReadyError(str(error)) from error
