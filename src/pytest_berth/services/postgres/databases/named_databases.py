"""Makes and isolates an application's further databases: ``berth_pg_databases``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pytest_berth.errors import IsolationError, SettingsError, nearest
from pytest_berth.run.lost_servers import raise_if_lost
from pytest_berth.services.postgres import urls
from pytest_berth.services.postgres.databases import template
from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase
from pytest_berth.services.postgres.isolation import reset_permission
from pytest_berth.services.postgres.options import DATABASES
from pytest_berth.services.postgres.server.connection_errors import errors
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

    from pytest_berth.isolation.fixture_layers import Place
    from pytest_berth.services.postgres.databases.database import Database
    from pytest_berth.services.postgres.isolation.choice import Isolation


class NamedDatabase:
    """One of an application's databases; in a test with a private database, that test's own."""

    def __init__(self, database: IsolatedDatabase) -> None:
        self._database = database
        # What ends with the test that runs now, and what of that is there already.
        self._of_test: ExitStack | None = None
        self._connection: Connection | None = None
        self._session: Session | None = None

    def __repr__(self) -> str:
        return f"NamedDatabase({self.name!r})"

    @property
    def name(self) -> str:
        """Its name on the server."""
        return self._active.database

    @property
    def url(self) -> str:
        """SQLAlchemy URL, as text."""
        return self._active.url

    @property
    def dsn(self) -> str:
        """Libpq URI, for psycopg, asyncpg, psql and others."""
        return self._active.dsn

    @property
    def engine(self) -> Engine:
        """SQLAlchemy engine (psycopg 3)."""
        return self._active.engine

    @property
    def connection(self) -> Connection:
        """SQLAlchemy connection, opened when first used in a test and closed after it."""
        if self._connection is None:
            self._connection = self._in_test.enter_context(self._database.connection())
        return self._connection

    @property
    def session(self) -> Session:
        """SQLAlchemy session, opened when first used in a test and closed after it."""
        if self._session is None:
            self._session = self._in_test.enter_context(self._database.session())
        return self._session

    @contextmanager
    def isolate_by(self, isolation: Isolation) -> Iterator[None]:
        """Give a test a clean slate in this database, and clean up behind it.

        There may be one around it, where a test asks for fixtures while it runs.
        """
        outer = self._of_test, self._connection, self._session
        with self._database.isolate_by(isolation), ExitStack() as self._of_test:
            self._connection = self._session = None
            try:
                yield
            finally:
                ending = self._of_test
                self._of_test, self._connection, self._session = outer
                ending.close()

    @property
    def _active(self) -> IsolatedDatabase | Database:
        return self._database.active

    @property
    def _in_test(self) -> ExitStack:
        if self._of_test is None:
            raise IsolationError(
                "session and connection of a named database are a test's.",
                why="a fixture of a wider scope has asked for one",
                remedy='use pg_databases["..."].engine, and commit',
            )
        return self._of_test


class NamedDatabases(Mapping[str, NamedDatabase]):
    """The further databases by their names; each is made when it is first asked for.

    Attributes:
        opened: Those that there are already.
    """

    def __init__(self, unnamed: IsolatedDatabase) -> None:
        self.opened: list[IsolatedDatabase] = []
        self._unnamed = unnamed
        self._by_name: dict[str, NamedDatabase] = {}
        self._test: tuple[Isolation, ExitStack] | None = None
        # The fixtures of a wider scope that are being set up, the outermost first.
        self._entering: list[tuple[Place, object, ExitStack]] = []

    def __getitem__(self, name: str) -> NamedDatabase:
        """Return a database.

        Raises:
            SettingsError: ``berth_pg_databases`` has no such name.
            SchemaError: A step of its schema or seeds failed.
        """
        if name not in self._by_name:
            made = self._make(name)
            self.opened.append(made)
            self._by_name[name] = NamedDatabase(made)
            for place, fixture, entered in self._entering:
                entered.enter_context(made.entering(place, fixture))
            if self._test:
                isolation, stack = self._test
                stack.enter_context(self._by_name[name].isolate_by(isolation))
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    @contextmanager
    def isolate_by(self, isolation: Isolation) -> Iterator[None]:
        """Give a test a clean slate in all databases that there are, or come to be meanwhile."""
        with ExitStack() as stack:
            self._open_exported()
            for database in self._by_name.values():
                stack.enter_context(database.isolate_by(isolation))
            outer, self._test = self._test, (isolation, stack)
            try:
                yield
            finally:
                self._test = outer

    @contextmanager
    def entering(self, place: Place, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write, in all databases that there are, or come to be."""
        with ExitStack() as stack:
            # The fixture may reach them by the application, as Django's setUpClass() does.
            self._open_exported()
            for database in self.opened:
                stack.enter_context(database.entering(place, fixture))
            self._entering.append((place, fixture, stack))
            try:
                yield
            finally:
                self._entering.pop()

    @property
    def _lines(self) -> Mapping[str, tuple[str, ...]]:
        return dict(self._unnamed.berth.settings[DATABASES])

    @property
    def _exported(self) -> list[str]:
        used = {each for export in self._unnamed.berth.exports for each in export.placeholders}
        return [name for name in self._lines if used & urls.placeholders(name)]

    def _open_exported(self) -> None:
        """Make those that the application learns of."""
        for name in self._exported:
            self[name]

    def _make(self, name: str) -> IsolatedDatabase:
        berth, server = self._unnamed.berth, self._unnamed.server
        if name not in self._lines:
            raise SettingsError(
                f"there is no database {name!r} in {DATABASES.name}.",
                why=berth.settings.given(DATABASES),
                remedy=nearest(name, self._lines) if self._lines else f"{name} = what makes it",
            )
        reset_permission.require_databases(server, self._unnamed.rights)
        steps = template.parse(berth, *self._lines[name])
        with raise_if_lost(berth, POSTGRES, server, errors):
            return IsolatedDatabase(berth, server, steps, name)
