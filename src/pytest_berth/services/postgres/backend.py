"""What Postgres does: how servers are launched, asked, opened and cleaned."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING

from pytest_berth.api import Backend
from pytest_berth.services.postgres import options as ini
from pytest_berth.services.postgres.server import fixed_names, launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import pytest

    from pytest_berth.api import (
        Client,
        Container,
        Credentials,
        LocalPart,
        LocalProcess,
        LocalRequest,
        Server,
        Worker,
    )
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError
    from pytest_berth.services.postgres.namespace import WorkerDatabase


class Postgres(Backend):
    """The service ``postgres``."""

    def account(self, settings: Settings) -> Credentials:
        """Return the account of a server to be started: a new one, unless the settings fix it."""
        return fixed_names.chosen(settings, launch.credentials())

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container, through the interface of the official image."""
        return launch.container(settings, account)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there is neither installed binaries nor an artifact for this machine."""
        return launch.local_obstacle(settings)

    def local(self, settings: Settings, request: LocalRequest) -> LocalProcess:
        """Describe the local process."""
        return launch.local(settings, request)

    def local_parts(self, settings: Settings) -> Sequence[LocalPart]:
        """Return what the local process is made of."""
        return launch.local_parts(settings)

    def local_identity(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another: programs and settings."""
        return launch.local_shape(settings)

    def server_at(self, url: str) -> Server:
        """Return the external server at the URL."""
        from pytest_berth.services.postgres import urls

        return urls.server(url, reason=f"{self.service.url.name} is set")

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's databases."""
        from pytest_berth.services.postgres import urls
        from pytest_berth.services.postgres.databases import run_databases

        found = dict(urls.values(server, run_databases.expected(server, run_id, worker)))
        for name, _ in settings[ini.DATABASES]:
            part = run_databases.part(worker, name)
            found |= urls.values(server, run_databases.database_name(run_id, part), name)
        return found

    def probe(self, server: Server) -> str:
        """Connect once and return the server's version, such as ``"17.6"``."""
        return launch.probe(server)

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[WorkerDatabase]:
        """Open the worker's database: a clone of the template, or the one that the URL names."""
        from pytest_berth.services.postgres import namespace

        return namespace.opened(server, worker)

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return a connection of psycopg, in autocommit."""
        import psycopg

        return {"connection": psycopg.connect(values["pg_dsn"], autocommit=True)}

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what psycopg raises when a connection fails, and SQLAlchemy."""
        from pytest_berth.services.postgres.server.connection_errors import errors

        return errors()

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check what tests ask for, and what the settings say for all of them."""
        from pytest_berth.services.postgres import requirements

        requirements.check(items)

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation, and why it was chosen."""
        from pytest_berth.services.postgres import requirements

        return requirements.describe_isolation(item)

    def limited(self, item: pytest.Item) -> AbstractContextManager[object]:
        """Hold a test to the number of statements that its marker allows."""
        from pytest_berth.services.postgres import queries, requirements

        most = requirements.requirements_of(item).max_queries
        return nullcontext() if most is None else queries.limited(item.config, most)

    def load_drivers(self) -> None:
        """Import its packages, and SQLAlchemy's dialect where the suite has imported that."""
        from pytest_berth.services.postgres import sqlalchemy_compat

        super().load_drivers()
        if "sqlalchemy" in sys.modules and sqlalchemy_compat.version():
            sqlalchemy_compat.load()

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need; what puts data back is much, and seldom needed."""
        from pytest_berth.services.postgres import requirements, sqlalchemy_compat

        import_module("pytest_berth.services.postgres.namespace")
        if requirements.need_alchemy(items):
            sqlalchemy_compat.load()
        if requirements.needs_restore(items, starts=starts):
            for module in ("isolation.truncation", "databases.private_databases"):
                import_module(f"pytest_berth.services.postgres.{module}")

    def prebuild(self, server: Server, item: pytest.Item) -> None:
        """Build the template where the settings alone say what it holds."""
        from pytest_berth.services.postgres.databases import template

        template.build_ahead(server, item)

    def own_log(self, log: str, server: Server, run_id: str, worker: str) -> str:
        """Leave out of the log what was done in other workers' databases."""
        from pytest_berth.services.postgres.databases import run_databases

        own = run_databases.database_name(run_id, worker)
        return launch.own_log(log, own, server.credentials.fixed)

    def was_used(self, server: Server, run_id: str) -> bool | None:
        """Tell whether anybody but berth has connected to the run's databases."""
        from pytest_berth.services.postgres.databases import usage

        return usage.was_used(server, run_id)

    def release(self, server: Server, run_id: str) -> None:
        """Drop the databases of a run on an external server, and what dead runs have left."""
        from pytest_berth.services.postgres.databases import external_templates, run_databases

        run_databases.drop_all(server, run_id)
        external_templates.sweep(server)

    def client(self, server: Server, name: str) -> Client:
        """Return the command that opens psql in a kept database."""
        from pytest_berth.services.postgres import client

        return client.psql(server, name)

    def discard_kept(self, server: Server, name: str) -> None:
        """Drop a kept database."""
        from pytest_berth.services.postgres.databases import kept_databases

        kept_databases.drop(server, name)

    def set_password(self, server: Server, password: str) -> None:
        """Give the administrator another password, which the server's log never sees."""
        from pytest_berth.services.postgres import prepare_snapshot

        prepare_snapshot.set_password(server, password)

    def prepare_snapshot(self, server: Server, run_id: str) -> bool:
        """Drop the run's databases, and tell whether the server's data is worth keeping."""
        from pytest_berth.services.postgres import prepare_snapshot

        return prepare_snapshot.prepare(server, run_id)

    def state_digest(self, server: Server) -> Sequence[str]:
        """Return what is on a server of ours, but for templates."""
        from pytest_berth.services.postgres import reset_for_reuse

        return reset_for_reuse.state_digest(server)

    def reset_server(
        self, server: Server, run_id: str, digest: Sequence[str], password: str
    ) -> Sequence[str]:
        """Drop the databases and roles that were not there, but for templates."""
        from pytest_berth.services.postgres import reset_for_reuse

        return reset_for_reuse.reset_server(server, run_id, digest, password)
