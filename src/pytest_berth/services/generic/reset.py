"""How a service of any image is emptied: a request, a command, a Python function, or a restart."""

from __future__ import annotations

from http.client import HTTPConnection
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pytest_berth.errors import BerthError, NotRestoredError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_berth.services.generic.server import GenericServer

_ANSWERS_WITHIN = 30.0
_SHOWN = 300


class Reset(Protocol):
    """One way to empty a server."""

    def __call__(self, server: GenericServer, require: Callable[[], None]) -> None:
        """Empty it.

        Args:
            server: What tests know of the server.
            require: Raises where the server's address may lead to another one.

        Raises:
            NotRestoredError: It did not do so.
            OSError: It does not answer.
        """

    def __str__(self) -> str:
        """Return how it is written."""


class Request(NamedTuple):
    """A request over HTTP, which has to have a status below 400."""

    method: str
    port: str
    path: str

    def __call__(self, server: GenericServer, require: Callable[[], None]) -> None:
        """Send it, on a connection that was there before the look at who answers."""
        connection = HTTPConnection(server.host, server.port(self.port), timeout=_ANSWERS_WITHIN)
        try:
            connection.connect()
            require()
            connection.request(self.method, self.path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            told = body[:_SHOWN].decode(errors="replace").strip()
            raise _refused(self, f"it was answered with status {answer.status}: {told}")

    def __str__(self) -> str:
        """Return how it is written."""
        return f"{self.method},{self.port}:{self.path}"


class Command(NamedTuple):
    """A command in the container, which has to end with status 0."""

    command: tuple[str, ...]

    def __call__(self, server: GenericServer, require: Callable[[], None]) -> None:
        """Run it, in the container that berth has started and no other."""
        status, output = server.container().execute(self.command)
        if status:
            told = output.strip()[-_SHOWN:]
            raise _refused(self, f"it ended with status {status}: {told}")

    def __str__(self) -> str:
        """Return how it is written."""
        return f"exec:{' '.join(self.command)}"


class Function(NamedTuple):
    """A function of the suite, which is given the server."""

    module: str
    name: str

    def __call__(self, server: GenericServer, require: Callable[[], None]) -> None:
        """Call it."""
        function = self.find()
        require()
        try:
            function(server)
        except (BerthError, OSError):
            raise
        except Exception as error:
            raise _refused(self, f"it has raised {type(error).__name__}: {error}") from error

    def find(self) -> Callable[[GenericServer], object]:
        """Import the function.

        Raises:
            SettingsError: It is not there, or is none.
        """
        try:
            found: Any = import_module(self.module)
            for part in self.name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise self._unusable(f"{type(error).__name__}: {error}") from error
        if not callable(found):
            raise self._unusable(f"it is {found!r}")
        function: Callable[[GenericServer], object] = found
        return function

    def _unusable(self, why: str) -> SettingsError:
        return SettingsError(
            f"the function {self} of a reset cannot be called.",
            why=why,
            remedy="name a function that can be imported, and takes the server: with"
            " `pythonpath = .` in pytest.ini, modules of this project can",
        )

    def __str__(self) -> str:
        """Return how it is written."""
        return f"{self.module}:{self.name}"


class Restart(NamedTuple):
    """The container is started again: what is in its memory is gone, its disk stays."""

    def __call__(self, server: GenericServer, require: Callable[[], None]) -> None:
        """Restart it; who calls this waits until it is ready."""
        server.container().restart()

    def __str__(self) -> str:
        """Return how it is written."""
        return "restart"


def _refused(reset: Reset, why: str) -> NotRestoredError:
    return NotRestoredError(
        f"the reset {reset} has failed.",
        why=why,
        remedy="correct the line's reset=; its log may say more",
    )
