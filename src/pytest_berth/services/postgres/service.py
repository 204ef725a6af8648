"""What PostgreSQL is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from pytest_berth.services.built_in import BuiltIn
from pytest_berth.services.postgres import options as ini

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from pytest_berth.api import Credentials, Server, Service
    from pytest_berth.config.options import Option, Settings
    from pytest_berth.services.rooms import Items, Launch, Urls


class Postgres(BuiltIn):
    """The service ``postgres``."""

    name = "postgres"
    prefix = "pg"
    extra = "postgres"
    packages: tuple[str, ...] = ("psycopg",)
    options = ini.OPTIONS
    url = ini.URL
    source = ini.SOURCE
    scope: Option[str] | None = ini.SCOPE
    port: Option[int] | None = ini.PORT
    snapshots = True
    own: Mapping[str, str] = {
        "pg_url": "_pg_own_url",
        "pg_dsn": "_pg_own_dsn",
        "pg_engine": "_pg_own_engine",
        "pg_async_engine": "_pg_own_async_engine",
    }
    own_by: tuple[Option[str], str] | None = (ini.ISOLATION, ini.DATABASE)
    usual_start = 0.5
    fixtures = frozenset(
        {
            "pg_server",
            "pg_url",
            "pg_dsn",
            "pg_engine",
            "pg_connection",
            "pg_session",
            "pg_database",
            "pg_databases",
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
        from pytest_berth.services.postgres.server import launch

        return launch

    @property
    def urls(self) -> Urls:
        """How a database is addressed."""
        from pytest_berth.services.postgres.server import urls

        return urls

    @property
    def items(self) -> Items:
        """What a test asks for."""
        from pytest_berth.services.postgres import requirements

        return requirements

    def credentials(self, settings: Settings) -> Credentials:
        """Return the account of a server to be started: a new one, unless the settings fix it."""
        from pytest_berth.services.postgres.server import fixed_names

        return fixed_names.chosen(settings, super().credentials(settings))

    def load_drivers(self) -> None:
        """Import its packages, and SQLAlchemy's dialect where the suite has imported that."""
        from pytest_berth.services.postgres import sqlalchemy_compat

        super().load_drivers()
        if "sqlalchemy" in sys.modules and sqlalchemy_compat.version():
            sqlalchemy_compat.load()

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need; what puts data back is much, and seldom needed."""
        from pytest_berth.services.postgres import sqlalchemy_compat
        from pytest_berth.services.postgres.requirements import need_alchemy, needs_restore

        super().load(items, starts=starts)
        if need_alchemy(items):
            sqlalchemy_compat.load()
        if needs_restore(items, starts=starts):
            for module in ("isolation.truncation", "databases.private_fixtures"):
                import_module(f"pytest_berth.services.postgres.{module}")

    def prepare(self, server: Server, item: pytest.Item) -> None:
        """Build the template and a clone, where the settings alone say what they hold."""
        from pytest_berth.services.postgres.databases import template

        template.build_ahead(server, item)

    def probe(self, server: Server) -> str:
        """Connect once and return the server's version, such as ``"17.6"``."""
        from pytest_berth.services.postgres.server import launch

        return launch.probe(server)

    def own_log(self, log: str, server: Server, run_id: str, worker: str) -> str:
        """Leave out of the log what was done in other workers' databases."""
        from pytest_berth.services.postgres.databases import run_databases
        from pytest_berth.services.postgres.server import launch

        own = run_databases.database_name(run_id, worker)
        return launch.own_log(log, own, server.credentials.fixed)

    def release(self, server: Server, run_id: str) -> None:
        """Drop the databases of a run on an external server, and what dead runs have left."""
        from pytest_berth.services.postgres.databases import run_databases, shared_templates

        run_databases.drop_all(server, run_id)
        shared_templates.sweep(server)

    def set_password(self, server: Server, password: str) -> None:
        """Give the administrator another password, which the server's log never sees."""
        from pytest_berth.services.postgres.server import prepare_snapshot

        prepare_snapshot.set_password(server, password)

    def strip(self, server: Server, run_id: str) -> bool:
        """Drop the run's databases, and tell whether the server's data is worth keeping."""
        from pytest_berth.services.postgres.server import prepare_snapshot

        return prepare_snapshot.strip(server, run_id)

    def condition(self, server: Server) -> Sequence[str]:
        """Describe what is on a server of ours, but for templates."""
        from pytest_berth.services.postgres.server import reset_server

        return reset_server.condition(server)

    def renew(
        self, server: Server, run_id: str, condition: Sequence[str], password: str
    ) -> Sequence[str]:
        """Drop the databases and roles that were not there, but for templates."""
        from pytest_berth.services.postgres.server import reset_server

        return reset_server.renew(server, run_id, condition, password)

    def further_placeholders(self, settings: Settings) -> frozenset[str]:
        """Return the names of the placeholders for the databases that the settings name."""
        from pytest_berth.services.postgres.server import urls

        named = settings[ini.DATABASES]
        return frozenset(name for each in named for name in urls.placeholders(each.name))

    def further_values(
        self, server: Server, run_id: str, worker: str, settings: Settings
    ) -> Mapping[str, object]:
        """Return the values of these."""
        from pytest_berth.services.postgres.databases import run_databases
        from pytest_berth.services.postgres.server import urls

        found: dict[str, object] = {}
        for name, _ in settings[ini.DATABASES]:
            database = run_databases.database_name(run_id, run_databases.part(worker, name))
            found |= urls.values(server, database, name)
        return found

    def values(self, server: Server, run_id: str, worker: str) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's database."""
        from pytest_berth.services.postgres.databases import run_databases
        from pytest_berth.services.postgres.server import urls

        return urls.values(server, run_databases.expected(server, run_id, worker))


POSTGRES: Service = Postgres()
