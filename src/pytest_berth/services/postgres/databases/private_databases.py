"""Gives tests private databases: by the isolation ``database``, and by ``pg_database``."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING

from pytest_berth.config import exports
from pytest_berth.services.postgres import urls
from pytest_berth.services.postgres.databases import run_databases
from pytest_berth.services.postgres.databases.database import Database, PrivateDatabase
from pytest_berth.services.postgres.databases.database_pool import DatabasePool
from pytest_berth.services.postgres.options import LOCK_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.services.postgres.application_connections import Application
    from pytest_berth.services.postgres.databases.pooled_database import PooledDatabase


class PrivateDatabases:
    """What a worker's tests have for themselves, out of a pool.

    Attributes:
        active: The private database that the test which runs now has in place of the worker's.
    """

    def __init__(
        self, berth: PluginState, server: Server, application: Application, template: str, name: str
    ) -> None:
        self.active: Database | None = None
        self._berth = berth
        self._server = server
        self._application = application
        self._template = template
        # What the settings call it, if they do.
        self._name = name
        # A pool that takes the place of another one must not give its names again.
        self._numbers = count(1)
        self._pool: DatabasePool | None = None

    @contextmanager
    def activated(self) -> Iterator[Database]:
        """Yield a private database that a test has in place of the worker's."""
        outer = self.active
        with self._from_pool(self._template) as self.active:
            try:
                yield self.active
            finally:
                self.active = outer

    @contextmanager
    def of_test(self) -> Iterator[PrivateDatabase]:
        """Yield the private database of a test, from which it gets further ones."""
        with ExitStack() as stack:

            def another(template: str | None, empty: bool) -> Database:
                found = run_databases.EMPTY if empty else template or self._template
                return stack.enter_context(self._from_pool(found))

            own = self.active or another(None, False)
            first = PrivateDatabase(own.name, self._server, lambda: own.engine, another)
            stack.callback(first.close)
            yield first

    @contextmanager
    def exported(self, database: Database) -> Iterator[None]:
        """Let the variables of ``berth_export`` tell of a private database, and take that back."""
        before = dict(os.environ)
        values = urls.values(self._server, database.name, self._name)
        variables = exports.render(self._berth.exports, values)
        os.environ.update(variables)
        try:
            yield
        finally:
            os.environ.update({name: before[name] for name in variables.keys() & before.keys()})
            for name in variables.keys() - before.keys():
                os.environ.pop(name, None)

    @property
    def lent(self) -> list[PooledDatabase]:
        """Those that the running test has."""
        return self._pool.lent if self._pool else []

    def is_cut_off(self) -> bool:
        """Tell whether the server has ended connections of berth's."""
        return self._pool is not None and self._pool.is_cut_off()

    def close(self) -> None:
        """Close all connections, and end what is done in the background."""
        if self._pool:
            self._pool.close()
            self._pool = None

    @contextmanager
    def _from_pool(self, template: str) -> Iterator[Database]:
        self._pool = self._pool or self._new_pool()
        with self._pool.database(template) as pooled:
            database = Database(pooled.name, self._server, pooled.engine)
            try:
                yield database
            finally:
                database.close()

    def _new_pool(self) -> DatabasePool:
        berth = self._berth
        return DatabasePool(
            self._server,
            berth.run.id,
            run_databases.part(berth.run.worker, self._name),
            berth.settings[LOCK_TIMEOUT],
            self._application,
            berth.progress.note,
            berth.run.timeline,
            self._numbers,
        )
