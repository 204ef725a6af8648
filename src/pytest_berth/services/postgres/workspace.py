"""A worker's place on the server: its database, its connections, its clean slates."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.orm import Session

from pytest_berth.errors import IsolationError
from pytest_berth.lifecycle.losing import on_living_server
from pytest_berth.lifecycle.once import once
from pytest_berth.services.postgres import (
    databases,
    environment,
    permission,
    rights,
    rollback,
    template,
    urls,
)
from pytest_berth.services.postgres.database import Database, PrivateDatabase
from pytest_berth.services.postgres.layers import DatabaseLayers
from pytest_berth.services.postgres.lost import ERRORS
from pytest_berth.services.postgres.options import ALLOW_RESET, DATABASE, DATABASES, LOCK_TIMEOUT
from pytest_berth.services.postgres.pool import Pool
from pytest_berth.services.postgres.repair import PRIVATE, LeftOpen, NotRepairable, SchemaChanged
from pytest_berth.services.postgres.repair.application import Application, check_pools
from pytest_berth.services.postgres.sequences import Sequences
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_berth.lifecycle.state import Berth
    from pytest_berth.service import Server
    from pytest_berth.services.layers import Place
    from pytest_berth.services.postgres.isolation import Isolation
    from pytest_berth.services.postgres.named import NamedDatabases
    from pytest_berth.services.postgres.rights import Rights
    from pytest_berth.services.postgres.schema import Step


@dataclass
class Workspace:
    """A worker's database.

    Attributes:
        berth: The run.
        server: The server.
        database: The database's name.
        rights: What the role may do on the server.
        steps: What the template is made by.
        name: Which of the application's databases; empty for the one that has no name.
        application: The application's connections in this process.
    """

    berth: Berth
    server: Server
    database: str
    rights: Rights
    steps: tuple[Step, ...] = ()
    name: str = ""
    application: Application = field(default_factory=Application, init=False)
    _connection: Connection | None = field(default=None, init=False, repr=False)
    _spoilt: bool = field(default=False, init=False, repr=False)
    _own: Database | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.application.watch()

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database."""
        return urls.url(self.server, self.database)

    @property
    def dsn(self) -> str:
        """Libpq URI of the database."""
        return urls.dsn(self.server, self.database)

    @cached_property
    def engine(self) -> Engine:
        """An engine for tests that commit."""
        return create_engine(self.url)

    @cached_property
    def _pinned(self) -> Engine:
        return rollback.pinned_engine(self.url, self.dsn)

    @cached_property
    def _sequences(self) -> Sequences:
        return Sequences(rollback.outer_transaction(self._pinned))

    @cached_property
    def _layers(self) -> DatabaseLayers:
        timeout = self.berth.settings[LOCK_TIMEOUT]
        return DatabaseLayers(self.dsn, timeout, self.is_ours, application=self.application)

    @cached_property
    def _pool(self) -> Pool:
        run, timeout = self.berth.run, self.berth.settings[LOCK_TIMEOUT]
        note = self.berth.progress.note
        part = databases.part(run.worker, self.name)
        return Pool(self.server, run.id, part, timeout, self.application, note)

    @cached_property
    def named(self) -> NamedDatabases:
        """The application's further databases."""
        from pytest_berth.services.postgres.named import NamedDatabases

        return NamedDatabases(self)

    @property
    def is_ours(self) -> bool:
        """Whether this run has created the database, so that it can always be put back."""
        return self.rights.own_databases

    @property
    def outer(self) -> rollback.OuterTransaction | None:
        """The connection of the rolled-back test that runs now, if one does."""
        # Not by a new connection: giving that back would roll the test back.
        return rollback.behind(self._connection) if self._connection else None

    @contextmanager
    def slate(self, isolation: Isolation, seeds: Sequence[Step]) -> Iterator[None]:
        """Give a test a clean slate, and clean up behind it.

        Raises:
            IsolationError: The isolation cannot be given here, or the test broke out of it.
        """
        if self.berth.settings[DATABASES] and not self.name:
            with self.named.slates(isolation), self._slate(isolation, seeds):
                yield
        else:
            with self._slate(isolation, seeds):
                yield

    @contextmanager
    def _slate(self, isolation: Isolation, seeds: Sequence[Step]) -> Iterator[None]:
        permission.require(isolation, self.server, self.rights, self.berth)
        if self._spoilt:
            self.start_over()
        if isolation.kind == "rollback":
            with self._rolled_back(seeds):
                yield
        elif isolation.kind == "truncation":
            with self._put_back():
                self._apply(seeds, self.database)
                yield
        elif isolation.kind == DATABASE:
            with self._private(seeds):
                yield
        else:
            self._apply(seeds, self.database)
            yield

    @contextmanager
    def entering(self, place: Place, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write, where what it writes can be put back."""
        if permission.can_commit(self.rights, self.berth):
            with self._layers.entering(place, fixture):
                yield
        else:
            yield

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        if "_layers" in self.__dict__ and not self.berth.manager.is_lost(self.server):
            self._repair(lambda: self._layers.leave(fixture), f"the fixture {name}")

    @property
    def used(self) -> Workspace | Database:
        """What the test works with: its private database, or else the worker's."""
        return self._own or self

    @contextmanager
    def private(self) -> Iterator[PrivateDatabase]:
        """Yield the private database of the test, from which it gets further ones.

        Raises:
            IsolationError: The role cannot create databases.
        """
        permission.require_databases(self.server, self.rights)
        with ExitStack() as stack:

            def another(template: str | None, empty: bool) -> Database:
                found = databases.EMPTY if empty else template or self._template
                return stack.enter_context(self._lent(found))

            own = self._own or another(None, False)
            first = PrivateDatabase(own.name, own.engine, self.server, another)
            stack.callback(first.close)
            yield first

    def renew_if_lost(self) -> None:
        """Make the database anew where another server has to take the place of a lost one."""
        if self.berth.manager.is_lost(self.server):
            # What it still does in the background would be done on the new server.
            pool: Pool | None = self.__dict__.pop("_pool", None)
            if pool:
                pool.close()
            new = open_workspace(self.berth, self.steps, self.name)
            self._disconnect()
            self.application.close()
            self.server, self.rights, self.application = new.server, new.rights, new.application

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield the rolled-back test's connection, or a new one for a test that commits."""
        if self._connection:
            yield self._connection
        else:
            with self.used.engine.connect() as connection:
                yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session; in a rolled-back test its commits and rollbacks are savepoints."""
        bind = self._connection or self.used.engine
        with Session(bind, join_transaction_mode="create_savepoint") as session:
            yield session

    def close(self) -> None:
        """Close every connection that berth has opened, private databases' included."""
        self._disconnect()
        self.application.close()
        if "_pool" in self.__dict__:
            self._pool.close()
        if "named" in self.__dict__:
            self.named.close()

    def _disconnect(self) -> None:
        for name in ("engine", "_pinned"):
            if name in self.__dict__:
                # Not forgotten: tests hold the engine, which connects anew when it is used.
                self.__dict__[name].dispose()
        if "_layers" in self.__dict__:
            self.__dict__.pop("_layers").close()
        self.__dict__.pop("_sequences", None)

    @contextmanager
    def _rolled_back(self, seeds: Sequence[Step]) -> Iterator[None]:
        outer = self._outer()
        self._sequences.remember(outer.begin_test())
        try:
            with self._pinned.connect() as self._connection:
                for step in seeds:
                    step.run_in(self._connection)
                self._connection.commit()
                yield
        finally:
            self._connection = None
            self._end(outer)

    def _outer(self) -> rollback.OuterTransaction:
        """Return the connection of rolled-back tests, a new one where the last test lost it."""
        outer = rollback.outer_transaction(self._pinned)
        if outer.closed:
            self._pinned.dispose()
            outer = rollback.outer_transaction(self._pinned)
        # SQLAlchemy, too, replaces a connection that it saw being lost.
        if self._sequences.connection is not outer:
            self._sequences = Sequences(outer)
        return outer

    def _end(self, outer: rollback.OuterTransaction) -> None:
        if outer.closed:
            # The test may have gone on, and committed, on a connection that SQLAlchemy opened.
            self.start_over()
            return
        try:
            signature = outer.end_test()
        except IsolationError:
            self.start_over()
            raise
        if self.is_ours:
            self._sequences.put_back(signature)

    @contextmanager
    def _private(self, seeds: Sequence[Step]) -> Iterator[None]:
        with ExitStack() as stack:
            exported = self.berth.exports_any(POSTGRES)
            if exported:
                # An application that has read its environment already works in there.
                stack.enter_context(self._put_back())
            self._own = stack.enter_context(self._lent(self._template))
            try:
                self._apply(seeds, self._own.name)
                if exported:
                    stack.enter_context(
                        environment.exported(self.berth, self.server, self._own.name, self.name)
                    )
                yield
            finally:
                self._own = None

    @contextmanager
    def _lent(self, template: str) -> Iterator[Database]:
        with self._pool.lend(template) as private:
            database = Database(private.name, private.engine(), self.server)
            try:
                yield database
            finally:
                database.close()

    @property
    def _template(self) -> str:
        part = databases.part(databases.TEMPLATE, self.name)
        return databases.database_name(self.berth.run.id, part)

    @contextmanager
    def _put_back(self) -> Iterator[None]:
        self._layers.begin()
        try:
            yield
        finally:
            self._repair(self._layers.end, _running_test())

    def _apply(self, steps: Sequence[Step], database: str) -> None:
        target = template.target(self.berth, self.server, database) if steps else None
        for step in steps:
            assert target is not None
            step.run(target)

    def _repair(self, put_back: Callable[[], None], who: str) -> None:
        try:
            put_back()
        except SchemaChanged as error:
            if not self.is_ours:
                raise
            self.start_over()
            self._tell_changed_schema(error, who)
        except (LeftOpen, NotRepairable) as error:
            if getattr(error, "restored", None) is None:
                self.start_over()
            raise

    def _tell_changed_schema(self, error: SchemaChanged, who: str) -> None:
        self.berth.progress.note(
            f"postgres: {who} changed the schema ({'; '.join(error.differences[:3])}), so the"
            " database was made anew from its template; what fixtures of a wider scope had written"
            f" is gone. With {PRIVATE} the test has a database of its own"
        )

    def start_over(self) -> None:
        """Put a new clone of the template in the place of the database.

        Raises:
            IsolationError: Somebody else is connected: it is tried again before the next test.
        """
        if not self.is_ours:
            return
        self._disconnect()
        self._spoilt = True
        self.application.leave(self.database)
        with databases.administration(self.server) as connection:
            known = self.application.backends(self.database)
            databases.drop_unused(connection, self.berth.run.id, self.database, known)
            part = databases.part(self.berth.run.worker, self.name)
            databases.clone(connection, self.berth.run.id, part, self._template)
        self._spoilt = False
        check_pools(self.database)


def _running_test() -> str:
    return os.environ.get("PYTEST_CURRENT_TEST", "a test").partition(" ")[0]


def open_workspace(berth: Berth, steps: tuple[Step, ...], name: str = "") -> Workspace:
    """Return the worker's database: a clone of the template, or the one that the URL names.

    Raises:
        SchemaError: A step failed.
    """
    return on_living_server(
        berth, POSTGRES, ERRORS, lambda server: _open(berth, server, steps, name)
    )


def _open(berth: Berth, server: Server, steps: tuple[Step, ...], name: str) -> Workspace:
    with databases.administration(server) as connection:
        found = rights.find(connection)
        if server.source == "external":
            _tell_rights(berth, server, found, steps)
        if found.own_databases:
            made = template.build(berth, server, steps, name)
            part = databases.part(berth.run.worker, name)
            database = databases.clone(connection, berth.run.id, part, made)
            return Workspace(berth, server, database, found, steps, name)
    if found.may_reset(berth.settings[ALLOW_RESET]):
        template.apply(berth, server, found.database, steps)
    return Workspace(berth, server, found.database, found, steps)


def _tell_rights(berth: Berth, server: Server, found: Rights, steps: tuple[Step, ...]) -> None:
    """Say, once per run, what the given role may do and where tests therefore work."""
    place = "databases of this run, dropped at its end"
    if not found.own_databases:
        allowed = found.may_reset(berth.settings[ALLOW_RESET])
        how = "may be reset (berth_pg_allow_reset)" if allowed else "rolled back, never reset"
        place = f"the database {found.database!r}, {how}"
        if steps and not allowed:
            place += "; schema and seeds are not applied to it"
    text = f"postgres: {server.credentials.user!r} is a {found}: tests work in {place}"
    once(berth.run.directory, "postgres.rights", lambda: berth.progress.note(text))
