"""What PostgreSQL is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.services.built_in import BuiltIn
from pytest_berth.services.postgres import options as ini

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.service import Server, Service
    from pytest_berth.services.built_in import Items, Launch, Urls


class Postgres(BuiltIn):
    """The service ``postgres``."""

    name = "postgres"
    prefix = "pg"
    extra = "postgres"
    packages: tuple[str, ...] = ("psycopg", "sqlalchemy")
    options = ini.OPTIONS
    url = ini.URL
    source = ini.SOURCE
    fixtures = frozenset(
        {
            "pg_server",
            "pg_url",
            "pg_dsn",
            "pg_engine",
            "pg_connection",
            "pg_session",
            "pg_async_engine",
            "pg_async_connection",
            "pg_async_session",
        }
    )
    placeholders = frozenset(
        {"pg_url", "pg_dsn", "pg_host", "pg_port", "pg_user", "pg_password", "pg_database"}
    )

    @property
    def launch(self) -> Launch:
        """How a server is launched."""
        from pytest_berth.services.postgres import launch

        return launch

    @property
    def urls(self) -> Urls:
        """How a database is addressed."""
        from pytest_berth.services.postgres import urls

        return urls

    @property
    def items(self) -> Items:
        """What a test asks for."""
        from pytest_berth.services.postgres import items

        return items

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

    def values(self, server: Server, run_id: str, worker: str) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's database."""
        from pytest_berth.services.postgres import databases, urls

        return urls.values(server, databases.of_worker(server, run_id, worker))


POSTGRES: Service = Postgres()
