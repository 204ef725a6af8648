"""What the rooms of a service's folder offer, for type checkers: the protocols of its modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_berth.api import ContainerSpec, Credentials, LocalRequest, LocalSpec, Server
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError


class Launch(Protocol):
    """The room ``launch``: how a server is launched."""

    def credentials(self) -> Credentials:
        """Return a new account."""

    def container(self, settings: Settings, credentials: Credentials) -> ContainerSpec:
        """Describe the container."""

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why no binaries can be had here."""

    def local(self, settings: Settings, request: LocalRequest) -> LocalSpec:
        """Describe the local process."""

    def local_shape(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another."""


class Urls(Protocol):
    """The room ``urls``: how a server is addressed."""

    def server(self, text: str, reason: str) -> Server:
        """Return the external server that a URL names."""


class Items(Protocol):
    """The room ``items``: what a test asks for."""

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check what the selected tests ask for."""

    def isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation."""
