"""Servers that run already: never started, never stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.errors import NoSourceError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_berth.api import Credentials, Progress, Server, Service
    from pytest_berth.config.options import Option, Settings
    from pytest_berth.errors import BerthError


@dataclass
class External:
    """The source that uses the server which a URL in the settings names."""

    settings: Settings
    name: str = field(default="external", init=False)

    def load(self) -> None:
        """Import nothing: there is nothing to start."""

    def obstacle(self, service: Service, progress: Progress) -> BerthError | None:
        """Tell that no URL is set."""
        if service.backend.external(self.settings):
            return None
        option = service.url
        return NoSourceError(
            "no server is given by URL.",
            why=f"{option.name} is not set",
            remedy=f"set {option.name}: {_example(option)}",
        )

    def plan(self, service: Service, credentials: Credentials, *, fixed: bool) -> Server:
        """Return the server that the URL names."""
        server = service.backend.external(self.settings)
        assert server is not None, "plan() follows obstacle(), which saw the URL"
        return server

    def start(self, service: Service, plan: Server, progress: Progress) -> Server:
        """Return the server: it runs already."""
        return plan

    def stop(self, server: Server) -> None:
        """Leave the server alone."""

    def clear(self, plan: Server) -> None:
        """Leave the server alone."""

    def store_snapshot(self, server: Server) -> None:
        """Leave the server alone: what it holds is not ours to keep."""

    def forget_snapshot(self, server: Server) -> None:
        """Do nothing: the server has not started from a snapshot."""

    def join(self, server: Server) -> None:
        """Do nothing: the server is not ours."""

    def identity(self, service: Service) -> Sequence[str] | None:
        """Return nothing where a URL is set: that server is kept by others."""
        return () if service.backend.external(self.settings) else None

    def sweep(self, spared: Collection[Server] = ()) -> None:
        """Leave everything alone."""

    def log_position(self, server: Server) -> float:
        """Return 0: the log is out of reach."""
        return 0.0

    def log(self, server: Server, since: float) -> str:
        """Return nothing: the log is out of reach."""
        return ""

    def exit_status(self, server: Server) -> str | None:
        """Return None: nobody can tell."""
        return None

    def other_listener(self, server: Server) -> str:
        """Return nothing: whoever listens there is the server that was named."""
        return ""

    def suspension(self, server: Server) -> str:
        """Return nothing: nobody can tell."""
        return ""

    def kill(self, server: Server) -> None:
        """Do nothing: the server is not ours."""


def _example(option: Option[str]) -> str:
    """Return what an option says of a value that it cannot take."""
    try:
        option.parse("?")
    except ValueError as error:
        return str(error)
    return option.help
