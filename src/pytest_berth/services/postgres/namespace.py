"""A worker's place on the server: its database, its connections, its clean slates."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from pytest_berth.services.postgres import sqlalchemy_compat, urls
from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.application_connections import (
    Application,
    check_pools,
    hang_up,
)
from pytest_berth.services.postgres.databases import run_databases, template
from pytest_berth.services.postgres.isolation import reset_permission
from pytest_berth.services.postgres.isolation.pooled_sessions import PooledSessions
from pytest_berth.services.postgres.isolation.rollback import RolledBack
from pytest_berth.services.postgres.options import DATABASE, DATABASES, LOCK_TIMEOUT
from pytest_berth.services.postgres.restore_errors import (
    BaselineLost,
    LeftOpen,
    NotRepairable,
    SchemaChanged,
)
from pytest_berth.services.postgres.server import backend_crash, connections
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

    from pytest_berth.api import Server
    from pytest_berth.isolation.layers import Place
    from pytest_berth.run.plugin_state import Berth
    from pytest_berth.services.postgres.databases.database import Database, PrivateDatabase
    from pytest_berth.services.postgres.databases.named_databases import NamedDatabases
    from pytest_berth.services.postgres.databases.private_databases import Lending
    from pytest_berth.services.postgres.isolation.choice import Isolation
    from pytest_berth.services.postgres.isolation.rollback_connection import OuterTransaction
    from pytest_berth.services.postgres.isolation.rollback_connection_psycopg2 import (
        OuterTransaction2,
    )
    from pytest_berth.services.postgres.isolation.truncation import DatabaseLayers
    from pytest_berth.services.postgres.schema import Step
    from pytest_berth.services.postgres.server.role_rights import Rights
    from pytest_berth.services.postgres.server_objects import ServerObjects


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
        life: What the server's life is called since its last crash, as far as that is known.
        application: The application's connections in this process.
    """

    berth: Berth
    server: Server
    database: str
    rights: Rights
    steps: tuple[Step, ...] = ()
    name: str = ""
    life: str = ""
    application: Application = field(default_factory=Application, init=False)
    _spoilt: bool = field(default=False, init=False, repr=False)
    _was_used: bool = field(default=False, init=False, repr=False)

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

    @property
    def template(self) -> str:
        """Name of the template database."""
        part = run_databases.part(run_databases.TEMPLATE, self.name)
        return run_databases.database_name(self.berth.run.id, part)

    @property
    def is_ours(self) -> bool:
        """Whether this run has created the database, so that it can always be put back."""
        return self.rights.own_databases

    @cached_property
    def engine(self) -> Engine:
        """An engine for tests that commit."""
        return self._sessions.engine

    @cached_property
    def _sessions(self) -> PooledSessions:
        return PooledSessions(sqlalchemy_compat.engine(self.url, "pg_engine"))

    @cached_property
    def named(self) -> NamedDatabases:
        """The application's further databases."""
        from pytest_berth.services.postgres.databases.named_databases import NamedDatabases

        return NamedDatabases(self)

    @cached_property
    def lending(self) -> Lending:
        """What lends private databases."""
        from pytest_berth.services.postgres.databases.private_databases import Lending

        return Lending(self)

    @cached_property
    def _rolled_back(self) -> RolledBack:
        connect = partial(connections.connect, self.server, self.database)
        return RolledBack(self.url, connect, self.is_ours, self.start_over)

    @cached_property
    def _layers(self) -> DatabaseLayers:
        from pytest_berth.services.postgres.isolation.truncation import DatabaseLayers
        from pytest_berth.services.postgres.restore.connection import RestoreConnection

        timeout = self.berth.settings[LOCK_TIMEOUT]
        connect = partial(connections.named, self.server, self.database)
        return DatabaseLayers(RestoreConnection(connect, timeout, self.is_ours, self.application))

    @cached_property
    def _beside(self) -> ServerObjects:
        from pytest_berth.services.postgres.server_objects import ServerObjects

        watched = self.server.source != "external" and self.berth.run.workers == 1
        return ServerObjects(self.server, watched, self.berth.progress.note)

    @property
    def used(self) -> Workspace | Database:
        """What the test works with: its private database, or else the worker's."""
        lent = self.lending.own if "lending" in self.__dict__ else None
        return lent or self

    @property
    def outer(self) -> OuterTransaction | OuterTransaction2 | None:
        """The connection of the rolled-back test that runs now, if one does."""
        return self._rolled_back.outer

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield the rolled-back test's connection, or a new one for a test that commits."""
        if self._rolled_back.connection:
            yield self._rolled_back.connection
        else:
            with self.used.engine.connect() as connection:
                yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session; in a rolled-back test its commits and rollbacks are savepoints."""
        bind = self._rolled_back.connection or self.used.engine
        with sqlalchemy_compat.session(bind) as session:
            yield session

    @contextmanager
    def private(self) -> Iterator[PrivateDatabase]:
        """Yield the private database of the test, from which it gets further ones.

        Raises:
            IsolationError: The role cannot create databases.
        """
        reset_permission.require_databases(self.server, self.rights)
        with self.lending.private() as database:
            yield database

    @contextmanager
    def slate(self, isolation: Isolation, seeds: Sequence[Step]) -> Iterator[None]:
        """Give a test a clean slate, and clean up behind it.

        Raises:
            IsolationError: The isolation cannot be given here, or the test broke out of it.
        """
        with ExitStack() as stack:
            if self.berth.settings[DATABASES] and not self.name:
                stack.enter_context(self.named.slates(isolation))
            if not self.name:
                stack.enter_context(self._server_kept(isolation))
            reset_permission.require(isolation, self.server, self.rights, self.berth)
            if self._spoilt or self._is_cut_off() or self._has_crashed_unseen(isolation):
                self._recover()
            self._was_used = True
            self._enter(stack, isolation, seeds)
            # Before the database is put back, as temporary tables write to its catalog.
            stack.callback(self._make_sessions_new)
            yield

    @contextmanager
    def entering(self, place: Place, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write, where what it writes can be put back."""
        with ExitStack() as stack:
            if reset_permission.can_commit(self.rights, self.berth):
                stack.enter_context(self._layers.entering(place, fixture))
            stack.enter_context(self.application.wider_fixture())
            yield

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        if self._can_put_back():
            self._repair(lambda: self._layers.leave(fixture), f"the fixture {name}")

    def sweep(self) -> None:
        """Put back what has come after the last test's end, before any fixture of the next one."""
        for workspace in self._opened():
            workspace.sweep_own()

    def sweep_own(self) -> None:
        """Do so in this database only, and not in those beside it."""
        if self._is_cut_off():
            self._recover()
        elif self._can_put_back():
            self._repair(self._layers.sweep, "what outlived a test")

    def expect_changes(self) -> None:
        """Let what is written from now on stay, until the next test has ended."""
        for workspace in self._opened():
            workspace.expect_own_changes()
        if "_beside" in self.__dict__:
            self._beside.expect_changes()

    def expect_own_changes(self) -> None:
        """Let what is written in this database from now on stay, and not in those beside it."""
        if "_layers" in self.__dict__:
            self._layers.expect_changes()

    def start_over(self) -> None:
        """Put a new clone of the template in the place of the database.

        Where the server has crashed, the template is made anew, too.

        Raises:
            IsolationError: Somebody else is connected: it is tried again before the next test.
        """
        if not self.is_ours:
            return
        self._disconnect()
        self._spoilt = True
        self.application.leave(self.database)
        known = self.application.backends(self.database)
        hang_up(self.database)
        with run_databases.administration(self.server) as connection:
            self.life = template.renew_if_crashed(
                self.berth, self.server, connection, self.steps, self.name
            )
            fixed_name = self.server.credentials.fixed
            run_databases.drop_unused(
                connection, self.berth.run.id, self.database, known, fixed_name
            )
            run_databases.create(
                connection, self.server, self.berth.run.id, self.database, self.template
            )
        self._spoilt = False
        check_pools(self.database)

    def _is_cut_off(self) -> bool:
        """Tell whether the server has ended berth's own connections: it may have crashed."""
        if not self.is_ours or self.berth.manager.is_lost(self.server):
            return False
        return any(place.is_cut_off() for place in self._places())

    def _has_crashed_unseen(self, isolation: Isolation) -> bool:
        """Tell whether the server has crashed where berth had no connection that would tell."""
        if isolation.kind == "none" or not (self.life and self._was_used) or self._places():
            return False
        if self.berth.manager.is_lost(self.server):
            return False
        with run_databases.administration(self.server) as connection:
            return backend_crash.checkpointer(connection) != self.life

    def _places(self) -> list[DatabaseLayers | RolledBack | Lending]:
        """Return what may have connections of berth's own."""
        opened = (self.__dict__.get(name) for name in ("_layers", "_rolled_back", "lending"))
        return [place for place in opened if place]

    def _recover(self) -> None:
        """Make everything anew; what was made ahead comes from the template as it was."""
        if "lending" in self.__dict__:
            self.lending.close()
        self.start_over()

    def move(self, new: Workspace) -> None:
        """Take the place of another one, on another server."""
        self._disconnect()
        if "_beside" in self.__dict__:
            self.__dict__.pop("_beside").close()
        self.application.close()
        self.server, self.rights, self.application = new.server, new.rights, new.application
        self.life = new.life

    def close(self) -> None:
        """Close every connection that berth has opened, private databases' included."""
        self._disconnect()
        self.application.close()
        for name in ("lending", "named", "_beside"):
            if name in self.__dict__:
                self.__dict__[name].close()

    def _make_sessions_new(self) -> None:
        if "_sessions" in self.__dict__:
            self._sessions.make_new()

    def _opened(self) -> list[Workspace]:
        return [self, *(self.named.opened if "named" in self.__dict__ else ())]

    def _can_put_back(self) -> bool:
        # Whether the server is lost is asked last: it is looked up on the disk.
        return "_layers" in self.__dict__ and not self.berth.manager.is_lost(self.server)

    def _disconnect(self) -> None:
        if "engine" in self.__dict__:
            # Not forgotten: tests hold the engine, which connects anew when it is used.
            self.engine.dispose()
        for name in ("_layers", "_rolled_back"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    def _enter(self, stack: ExitStack, isolation: Isolation, seeds: Sequence[Step]) -> None:
        if isolation.kind == "rollback":
            stack.enter_context(self._rolled_back.test(seeds))
        elif isolation.kind == DATABASE:
            self._enter_private(stack, seeds)
        else:
            if isolation.kind == "truncation":
                stack.enter_context(self._put_back())
            else:
                self.expect_changes()
            self._apply(seeds, self.database)

    def _enter_private(self, stack: ExitStack, seeds: Sequence[Step]) -> None:
        exported = self.berth.exports_any(POSTGRES)
        if exported or self.server.credentials.fixed:
            # An application that knows the name, or has read its environment, works in there.
            stack.enter_context(self._put_back())
        own = stack.enter_context(self.lending.instead())
        self._apply(seeds, own.name)
        if exported:
            stack.enter_context(self.lending.exported(own))

    @contextmanager
    def _server_kept(self, isolation: Isolation) -> Iterator[None]:
        """Put back what a test changes beside its database, where that can be told."""
        if isolation.kind == "none" or self._spoilt:
            self.expect_changes()
            yield
            return
        self._beside.remember()
        try:
            yield
        finally:
            self._beside.put_back(_running_test(), wrote=self._wrote(isolation))

    def _wrote(self, isolation: Isolation) -> bool:
        """Tell whether a test may have committed anything, be it in one of several databases."""
        if isolation.kind == "truncation" and "named" not in self.__dict__:
            return "_layers" not in self.__dict__ or self._layers.wrote
        return isolation.kind != "rollback" or "named" in self.__dict__

    @contextmanager
    def _put_back(self) -> Iterator[None]:
        self._layers.begin()
        try:
            with self.application.test():
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
            self._tell_dropped(who)
        except SchemaChanged as error:
            if not self.is_ours:
                raise
            self.start_over()
            self._tell_changed_schema(error, who)
        except (LeftOpen, NotRepairable) as error:
            life = self.life
            if getattr(error, "restored", None) is None:
                self.start_over()
            if not isinstance(error, BaselineLost) or self.life == life:
                raise
            self.berth.progress.note(
                f"postgres: while {who} ran, the server crashed and recovered, as one of its"
                " processes was killed; that empties unlogged tables, so the template and the"
                " database were made anew; what fixtures of a wider scope had written is gone"
            )

    def _tell_dropped(self, who: str) -> None:
        if dropped := self._layers.take_dropped():
            self.berth.progress.note(
                f"postgres: {who} changed the schema ({'; '.join(dropped[:3])}), so that was"
                f" dropped again. With {PRIVATE} the test has a database of its own"
            )

    def _tell_changed_schema(self, error: SchemaChanged, who: str) -> None:
        self.berth.progress.note(
            f"postgres: {who} changed the schema ({'; '.join(error.differences[:3])}), so the"
            " database was made anew from its template; what fixtures of a wider scope had written"
            f" is gone. With {PRIVATE} the test has a database of its own"
        )


def _running_test() -> str:
    return os.environ.get("PYTEST_CURRENT_TEST", "a test").partition(" ")[0]
