"""What the services of this package have in common: how each hands over to its folder's rooms.

A room is a module that is imported when a test needs it, never in an idle run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from pytest_berth.api import ContainerSpec, Credentials, LocalRequest, LocalSpec, Server
    from pytest_berth.config.options import Option, Settings
    from pytest_berth.errors import BerthError
    from pytest_berth.services.rooms import Items, Launch, Urls


class BuiltIn:
    """A `Service` but for what only its own kind can know: ready, log, names on the server."""

    name: str
    prefix: str
    extra: str
    packages: tuple[str, ...]
    options: tuple[Option[Any], ...]
    url: Option[str]
    source: Option[str]
    scope: Option[str] | None = None
    port: Option[int] | None = None
    own: Mapping[str, str] = {}
    own_by: tuple[Option[str], str] | None = None
    snapshots: bool = False
    keeps: bool = True
    claims: bool = False
    usual_start: float
    fixtures: frozenset[str]
    placeholders: frozenset[str]

    def __init__(self) -> None:
        self.fixture_module = f"pytest_berth.services.{self.name}.fixtures"
        self.slate = f"_{self.prefix}_slate"
        self.late_slate = f"_{self.prefix}_late_slate"

    @property
    def launch(self) -> Launch:
        """How a server is launched."""
        raise NotImplementedError

    @property
    def urls(self) -> Urls:
        """How a server is addressed."""
        raise NotImplementedError

    @property
    def items(self) -> Items:
        """What a test asks for."""
        raise NotImplementedError

    def credentials(self, settings: Settings) -> Credentials:
        """Return a new account for a server to be started."""
        return self.launch.credentials()

    def container(self, settings: Settings, credentials: Credentials) -> ContainerSpec:
        """Describe the container, through the interface of the official image."""
        return self.launch.container(settings, credentials)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there are neither installed binaries nor an artifact for this machine."""
        return self.launch.local_obstacle(settings)

    def local(self, settings: Settings, request: LocalRequest) -> LocalSpec:
        """Describe the local process."""
        return self.launch.local(settings, request)

    def local_shape(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another: programs and settings."""
        return self.launch.local_shape(settings)

    def external(self, settings: Settings) -> Server | None:
        """Return the server that a URL in the settings names; None without one."""
        url = settings[self.url]
        return self.urls.server(url, reason=f"{self.url.name} is set") if url else None

    def further_placeholders(self, settings: Settings) -> frozenset[str]:
        """Return the names of the placeholders that depend on the settings: none."""
        return frozenset()

    def further_values(
        self, server: Server, run_id: str, worker: str, settings: Settings
    ) -> Mapping[str, object]:
        """Return the values of these: none."""
        return {}

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check everything that is written about the service for the selected tests."""
        self.items.check(items)

    def set_password(self, server: Server, password: str) -> None:
        """Do nothing: no data is kept, and so no password with it."""

    def strip(self, server: Server, run_id: str) -> bool:
        """Leave everything: there is nothing worth keeping."""
        return False

    def load_drivers(self) -> None:
        """Import its packages."""
        for package in self.packages:
            import_module(package)

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need."""
        import_module(f"pytest_berth.services.{self.name}.namespace")

    def prepare(self, server: Server, item: pytest.Item) -> None:
        """Do nothing ahead."""

    def isolation(self, item: pytest.Item) -> str:
        """Describe how a test gets its clean slate, and why so."""
        return self.items.isolation(item)
