"""Further databases of an application, each with schema and seeds: ``berth_pg_databases``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.errors import IsolationError, SettingsError, nearest
from pytest_berth.services.postgres import urls
from pytest_berth.services.postgres.databases import template, worker_database
from pytest_berth.services.postgres.isolation import reset_permission
from pytest_berth.services.postgres.options import DATABASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

    from pytest_berth.services.postgres.databases.database import Database
    from pytest_berth.services.postgres.isolation.choice import Isolation
    from pytest_berth.services.postgres.namespace import Workspace


@dataclass
class NamedDatabase:
    """One of an application's databases; in a test with a private database, that test's own."""

    _workspace: Workspace = field(repr=False)
    _slate: ExitStack | None = field(default=None, init=False, repr=False)
    _connection: Connection | None = field(default=None, init=False, repr=False)
    _session: Session | None = field(default=None, init=False, repr=False)

    @property
    def workspace(self) -> Workspace:
        """What this worker has of it."""
        return self._workspace

    @property
    def name(self) -> str:
        """Its name on the server."""
        return self._used.database

    @property
    def url(self) -> str:
        """SQLAlchemy URL, as text."""
        return self._used.url

    @property
    def dsn(self) -> str:
        """Libpq URI, for psycopg, asyncpg, psql and others."""
        return self._used.dsn

    @property
    def engine(self) -> Engine:
        """SQLAlchemy engine (psycopg 3)."""
        return self._used.engine

    @property
    def connection(self) -> Connection:
        """SQLAlchemy connection, opened when first used in a test and closed after it."""
        if self._connection is None:
            self._connection = self._in_test.enter_context(self._workspace.connection())
        return self._connection

    @property
    def session(self) -> Session:
        """SQLAlchemy session, opened when first used in a test and closed after it."""
        if self._session is None:
            self._session = self._in_test.enter_context(self._workspace.session())
        return self._session

    @contextmanager
    def slate(self, isolation: Isolation) -> Iterator[None]:
        """Give a test a clean slate in this database, and clean up behind it.

        There may be one around it, where a test asks for fixtures while it runs.
        """
        worker_database.renew_if_lost(self._workspace)
        outer = self._slate, self._connection, self._session
        with self._workspace.slate(isolation, ()), ExitStack() as self._slate:
            self._connection = self._session = None
            try:
                yield
            finally:
                slate = self._slate
                self._slate, self._connection, self._session = outer
                slate.close()

    def close(self) -> None:
        """Close every connection that berth has opened to it."""
        self._workspace.close()

    @property
    def _used(self) -> Workspace | Database:
        return self._workspace.used

    @property
    def _in_test(self) -> ExitStack:
        if self._slate is None:
            raise IsolationError(
                "session and connection of a named database are a test's.",
                why="a fixture of a wider scope has asked for one",
                remedy='use pg_databases["..."].engine, and commit',
            )
        return self._slate


@dataclass
class NamedDatabases(Mapping[str, NamedDatabase]):
    """The further databases by their names; each is made when it is first asked for."""

    _beside: Workspace = field(repr=False)
    _open: dict[str, NamedDatabase] = field(default_factory=dict, init=False, repr=False)
    _test: tuple[Isolation, ExitStack] | None = field(default=None, init=False, repr=False)

    def __getitem__(self, name: str) -> NamedDatabase:
        """Return a database.

        Raises:
            SettingsError: ``berth_pg_databases`` has no such name.
            SchemaError: A step of its schema or seeds failed.
        """
        if name not in self._open:
            self._open[name] = NamedDatabase(self._make(name))
            if self._test:
                isolation, stack = self._test
                stack.enter_context(self._open[name].slate(isolation))
        return self._open[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    @contextmanager
    def slates(self, isolation: Isolation) -> Iterator[None]:
        """Give a test a clean slate in all databases that there are, or come to be meanwhile."""
        with ExitStack() as stack:
            for name in self._exported:
                self[name]
            for database in self._open.values():
                stack.enter_context(database.slate(isolation))
            outer, self._test = self._test, (isolation, stack)
            try:
                yield
            finally:
                self._test = outer

    @property
    def opened(self) -> list[Workspace]:
        """The databases that there are already."""
        return [database.workspace for database in self._open.values()]

    def close(self) -> None:
        """Close every connection that berth has opened."""
        for database in self._open.values():
            database.close()

    @property
    def _lines(self) -> Mapping[str, tuple[str, ...]]:
        return dict(self._beside.berth.settings[DATABASES])

    @property
    def _exported(self) -> list[str]:
        used = {each for export in self._beside.berth.exports for each in export.placeholders}
        return [name for name in self._lines if used & urls.placeholders(name)]

    def _make(self, name: str) -> Workspace:
        berth = self._beside.berth
        if name not in self._lines:
            raise SettingsError(
                f"there is no database {name!r} in {DATABASES.name}.",
                why=berth.settings.given(DATABASES),
                remedy=nearest(name, self._lines) if self._lines else f"{name} = what makes it",
            )
        reset_permission.require_databases(self._beside.server, self._beside.rights)
        steps = template.parse(berth, *self._lines[name])
        return worker_database.open_workspace(berth, steps, name)
