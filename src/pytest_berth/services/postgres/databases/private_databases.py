"""Private databases as tests get them: by the isolation ``database``, and by ``pg_database``."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from pytest_berth.services.postgres.databases import private_environment, run_databases
from pytest_berth.services.postgres.databases.database import Database, PrivateDatabase
from pytest_berth.services.postgres.databases.database_pool import DatabasePool
from pytest_berth.services.postgres.options import LOCK_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from pytest_berth.services.postgres.namespace import Workspace


@dataclass
class Lending:
    """Lends private databases to a worker's tests.

    Attributes:
        workspace: The worker's database, whose template theirs is.
        own: The private database that the test which runs now has in the worker's place.
    """

    workspace: Workspace = field(repr=False)
    own: Database | None = field(default=None, init=False)
    # A pool that takes the place of another one must not give its names again.
    _numbers: count[int] = field(default_factory=lambda: count(1), init=False, repr=False)
    _pool: DatabasePool | None = field(default=None, init=False, repr=False)

    @contextmanager
    def instead(self) -> Iterator[Database]:
        """Yield a private database that a test has in the place of the worker's."""
        outer = self.own
        with self._lent(self.workspace.template) as own:
            self.own = own
            try:
                yield own
            finally:
                self.own = outer

    @contextmanager
    def private(self) -> Iterator[PrivateDatabase]:
        """Yield the private database of a test, from which it gets further ones."""
        with ExitStack() as stack:

            def another(template: str | None, empty: bool) -> Database:
                found = run_databases.EMPTY if empty else template or self.workspace.template
                return stack.enter_context(self._lent(found))

            own, place = self.own or another(None, False), self.workspace
            first = PrivateDatabase(own.name, place.server, lambda: own.engine, another)
            stack.callback(first.close)
            yield first

    def exported(self, own: Database) -> AbstractContextManager[None]:
        """Let the exported variables tell of a test's private database, and take that back."""
        place = self.workspace
        return private_environment.exported(place.berth, place.server, own.name, place.name)

    def is_cut_off(self) -> bool:
        """Tell whether the server has ended connections of berth's."""
        return self._pool is not None and self._pool.is_cut_off()

    def close(self) -> None:
        """Close all connections, and end what is done in the background."""
        if self._pool:
            self._pool.close()
            self._pool = None

    @contextmanager
    def _lent(self, template: str) -> Iterator[Database]:
        self._pool = self._pool or self._new_pool()
        with self._pool.database(template) as private:
            database = Database(private.name, self.workspace.server, private.engine)
            try:
                yield database
            finally:
                database.close()

    def _new_pool(self) -> DatabasePool:
        place, berth = self.workspace, self.workspace.berth
        part = run_databases.part(berth.run.worker, place.name)
        timeout, note = berth.settings[LOCK_TIMEOUT], berth.progress.note
        return DatabasePool(
            place.server, berth.run.id, part, timeout, place.application, note, self._numbers
        )
