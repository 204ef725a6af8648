"""What PostgreSQL is to the plugin: its name, settings, fixtures and placeholders.

How a server is launched, and what a test asks of it, is imported when a test needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.services.postgres import options as ini

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


class Postgres:
    """The service ``postgres``."""

    name: str = "postgres"
    prefix: str = "pg"
    extra: str = "postgres"
    packages: tuple[str, ...] = ("psycopg", "sqlalchemy")
    options: tuple[Option[Any], ...] = ini.OPTIONS
    source: Option[str] = ini.SOURCE
    scope: Option[str] | None = None
    own: Mapping[str, str] = {}
    claims: bool = False
    fixture_module: str = "pytest_berth.services.postgres.fixtures"
    slate: str = "_pg_slate"
    late_slate: str = "_pg_late_slate"
    fixtures: frozenset[str] = frozenset(
        {"pg_server", "pg_url", "pg_dsn", "pg_engine", "pg_connection", "pg_session"}
    )
    placeholders: frozenset[str] = frozenset(
        {"pg_url", "pg_dsn", "pg_host", "pg_port", "pg_user", "pg_password", "pg_database"}
    )

    def credentials(self) -> Credentials:
        """Return a new administrator's account."""
        from pytest_berth.services.postgres import launch

        return launch.credentials()

    def container(self, settings: Settings, credentials: Credentials) -> ContainerSpec:
        """Describe the container, through the interface of the official image."""
        from pytest_berth.services.postgres import launch

        return launch.container(settings, credentials)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there are neither installed binaries nor an artifact for this machine."""
        from pytest_berth.services.postgres import launch

        return launch.local_obstacle(settings)

    def local(self, settings: Settings, request: LocalRequest) -> LocalSpec:
        """Describe the process."""
        from pytest_berth.services.postgres import launch

        return launch.local(settings, request)

    def external(self, settings: Settings) -> Server | None:
        """Return the server that ``berth_pg_url`` names."""
        from pytest_berth.services.postgres import urls

        url = settings[ini.URL]
        return urls.server(url, reason=f"{ini.URL.name} is set") if url else None

    def probe(self, server: Server) -> str:
        """Connect once and return the server's version, such as ``"17.6"``."""
        from pytest_berth.services.postgres import launch

        return launch.probe(server)

    def own_log(self, log: str, run_id: str, worker: str) -> str:
        """Leave out of the log what was done in other workers' databases."""
        from pytest_berth.services.postgres import databases, launch

        return launch.own_log(log, databases.database_name(run_id, worker))

    def release(self, server: Server, run_id: str) -> None:
        """Drop the databases that a run has created on an external server."""
        from pytest_berth.services.postgres import databases

        databases.drop_all(server, run_id)

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check markers, schema and seeds of the selected tests."""
        from pytest_berth.services.postgres.items import check

        check(items)

    def isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation, and why it was chosen."""
        from pytest_berth.services.postgres.items import demand_of

        return str(demand_of(item).isolation)

    def values(self, server: Server, run_id: str, worker: str) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's database."""
        from pytest_berth.services.postgres import databases, urls

        return urls.values(server, databases.of_worker(server, run_id, worker))


POSTGRES: Service = Postgres()
