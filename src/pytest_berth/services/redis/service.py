"""What Redis is to the plugin: its name, settings, fixtures and placeholders.

How a server is launched, and what a test asks of it, is imported when a test needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.services.redis import options as ini

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from pytest_berth.errors import BerthError
    from pytest_berth.service import (
        ContainerSpec,
        Credentials,
        LocalRequest,
        LocalSpec,
        Server,
        Service,
    )
    from pytest_berth.settings import Option, Settings


class Redis:
    """The service ``redis``."""

    name: str = "redis"
    prefix: str = "redis"
    extra: str = "redis"
    packages: tuple[str, ...] = ("redis",)
    options: tuple[Option[Any], ...] = ini.OPTIONS
    source: Option[str] = ini.SOURCE
    scope: Option[str] | None = ini.SCOPE
    own: Mapping[str, str] = {
        "_redis_workspace": "_redis_own_workspace",
        "redis_server": "_redis_own_server",
        "redis_url": "_redis_own_url",
    }
    claims: bool = True
    fixture_module: str = "pytest_berth.services.redis.fixtures"
    slate: str = "_redis_slate"
    late_slate: str = "_redis_late_slate"
    fixtures: frozenset[str] = frozenset(
        {"redis_server", "redis_url", "redis_client", "redis_async_client"}
    )
    placeholders: frozenset[str] = frozenset(
        {"redis_url", "redis_host", "redis_port", "redis_db", "redis_password"}
    )

    def credentials(self) -> Credentials:
        """Return a new password; the account is Redis's own, ``default``."""
        from pytest_berth.services.redis import launch

        return launch.credentials()

    def container(self, settings: Settings, credentials: Credentials) -> ContainerSpec:
        """Describe the container, through the interface of the official image."""
        from pytest_berth.services.redis import launch

        return launch.container(settings, credentials)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there is neither an installed server nor an artifact for this machine."""
        from pytest_berth.services.redis import launch

        return launch.local_obstacle(settings)

    def local(self, settings: Settings, request: LocalRequest) -> LocalSpec:
        """Describe the process."""
        from pytest_berth.services.redis import launch

        return launch.local(settings, request)

    def external(self, settings: Settings) -> Server | None:
        """Return the server that ``berth_redis_url`` names."""
        from pytest_berth.services.redis import urls

        url = settings[ini.URL]
        return urls.server(url, reason=f"{ini.URL.name} is set") if url else None

    def probe(self, server: Server) -> str:
        """Connect once and return the server's version, such as ``"8.2.1"``."""
        from pytest_berth.services.redis import probe

        return probe.probe(server)

    def own_log(self, log: str, run_id: str, worker: str) -> str:
        """Return the whole log: Redis does not log by database."""
        return log

    def release(self, server: Server, run_id: str) -> None:
        """Give back the database numbers that a run has claimed on an external server."""
        from pytest_berth.services.redis import claims

        claims.release(server, run_id)

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check the markers of the selected tests."""
        from pytest_berth.services.redis.items import check

        check(items)

    def isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation, and why it was chosen."""
        from pytest_berth.services.redis.items import isolation

        return isolation(item)

    def values(self, server: Server, run_id: str, worker: str) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's database number."""
        from pytest_berth.services.redis import databases, urls

        return urls.values(server, databases.number(server, run_id, worker))


REDIS: Service = Redis()
