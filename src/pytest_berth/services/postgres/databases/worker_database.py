"""Isolates tests in one database of a worker, and makes it anew where that fails.

The isolations themselves are elsewhere: `isolation.rollback`, `isolation.truncation`, and private
databases. Nothing of them is opened, or even imported, before a test needs it.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from pytest_berth.services.postgres import sqlalchemy_compat, urls
from pytest_berth.services.postgres.advice import crash_note
from pytest_berth.services.postgres.application_connections import (
    Application,
    check_pools,
    hang_up,
)
from pytest_berth.services.postgres.databases import create_worker_database, run_databases, template
from pytest_berth.services.postgres.isolation import reset_permission
from pytest_berth.services.postgres.isolation.pooled_sessions import PooledSessions
from pytest_berth.services.postgres.isolation.rollback import Rollback
from pytest_berth.services.postgres.options import DATABASE, LOCK_TIMEOUT
from pytest_berth.services.postgres.server import backend_crash, connections
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

    from pytest_berth.api import Server
    from pytest_berth.isolation.fixture_layers import Place
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.services.postgres.databases.database import Database, PrivateDatabase
    from pytest_berth.services.postgres.databases.pooled_database import PooledDatabase
    from pytest_berth.services.postgres.databases.private_databases import PrivateDatabases
    from pytest_berth.services.postgres.isolation.choice import Isolation
    from pytest_berth.services.postgres.isolation.rollback import Outer
    from pytest_berth.services.postgres.isolation.truncation import Truncation
    from pytest_berth.services.postgres.restore import Baseline
    from pytest_berth.services.postgres.restore.restore import RestoreConnection
    from pytest_berth.services.postgres.schema import Step


class Held(NamedTuple):
    """What a database held before the running test.

    Attributes:
        database: Its name on the server.
        connection: berth's own, which keeps that.
        layers: The baselines before each layer, by its scope: the test's comes last.
    """

    database: str
    connection: RestoreConnection
    layers: Sequence[tuple[str, Baseline]]

    @property
    def baseline(self) -> Baseline:
        """What it held when the test began."""
        return self.layers[-1][1]


class IsolatedDatabase:
    """A worker's database, and berth's connections to it.

    Attributes:
        berth: The run.
        steps: What the template is made by.
        name: Which of the application's databases; empty for the one that has no name.
        server: The server.
        database: The database's name on the server.
        rights: What the role may do on the server.
        checkpointer: The server's, when the template was last looked at: a crash replaces it.
        application: The application's connections in this process.
    """

    def __init__(
        self, berth: PluginState, server: Server, steps: tuple[Step, ...], name: str = ""
    ) -> None:
        self.berth = berth
        self.steps = steps
        self.name = name
        self._sessions: PooledSessions | None = None
        self._rollback: Rollback | None = None
        self._truncation: Truncation | None = None
        self._private: PrivateDatabases | None = None
        self._open(server)

    def _open(self, server: Server) -> None:
        made = create_worker_database.make(self.berth, server, self.steps, self.name)
        self.database, self.rights, self.checkpointer = made
        self.server = server
        self.application = Application()
        self.application.watch()
        self._spoilt = self._was_used = False

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

    @property
    def engine(self) -> Engine:
        """An engine for tests that commit."""
        if self._sessions is None:
            self._sessions = PooledSessions(sqlalchemy_compat.engine(self.url, "pg_engine"))
        return self._sessions.engine

    @property
    def active(self) -> IsolatedDatabase | Database:
        """What the test works with: its private database, or else this one."""
        return (self._private and self._private.active) or self

    @property
    def outer(self) -> Outer | None:
        """The connection of the rolled-back test that runs now, if one does."""
        return self._rollback.outer if self._rollback else None

    @property
    def sequences(self) -> Mapping[str, str]:
        """Where the sequences stood before the rolled-back test that runs now, by their ids."""
        return self._rollback.sequences if self._rollback else {}

    @property
    def rolled_back(self) -> Outer | None:
        """The connection that the rolled-back test which runs now began on, lost or not."""
        return self._rollback.running if self._rollback else None

    @property
    def rolled_back_backend(self) -> int:
        """The process id of its backend; 0 where there is none."""
        running = self.rolled_back
        return running.info.backend_pid if running and not running.closed else 0

    @property
    def held(self) -> list[Held]:
        """What the running test's databases held before it: private ones, or the worker's."""
        lent = self._private.lent if self._private else []
        kept = [(each.name, *each.held) for each in lent]
        found = [
            Held(name, connection, (("test", baseline),))
            for name, connection, baseline in kept
            if baseline
        ]
        if self._truncation and self._truncation.layers.is_in_test:
            found.append(Held(self.database, *self._truncation.held))
        return found

    @property
    def own_backends(self) -> set[int]:
        """Process ids of the backends of berth's own connections, those of fixtures left out."""
        lent = self._private.lent if self._private else []
        found = {each.connection.backend for each in self.held}
        found |= {each.held[0].backend for each in lent}
        return found | {self.rolled_back_backend}

    @property
    def fixture_backends(self) -> frozenset[int]:
        """Process ids of the backends that the test has used through ``pg_engine``'s pool."""
        return self._sessions.used if self._sessions else frozenset()

    @property
    def lent(self) -> Sequence[PooledDatabase]:
        """The private databases of the test that runs now."""
        return self._private.lent if self._private else ()

    def before_rollback(self, work: Callable[[Outer], None]) -> None:
        """Call *work* when the rolled-back test that runs now has ended, before its rollback."""
        assert self._rollback, "a rolled-back test runs"
        self._rollback.before_end = work

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield the rolled-back test's connection, or a new one for a test that commits."""
        if self._rollback and self._rollback.connection:
            self.share_connection()
            yield self._rollback.connection
        else:
            with self.active.engine.connect() as connection:
                yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session; in a rolled-back test its commits and rollbacks are savepoints."""
        rolled_back = self._rollback.connection if self._rollback else None
        with sqlalchemy_compat.session(rolled_back or self.active.engine) as session:
            try:
                yield session
            finally:
                if rolled_back and self._rollback:
                    self._rollback.end_session()

    def share_connection(self) -> None:
        """Note that the rolled-back test's connection is given to others than its session."""
        if self._rollback:
            self._rollback.is_shared = True

    @contextmanager
    def private(self) -> Iterator[PrivateDatabase]:
        """Yield the private database of the test, from which it gets further ones.

        Raises:
            IsolationError: The role cannot create databases.
        """
        reset_permission.require_databases(self.server, self.rights)
        with self._private_databases().of_test() as database:
            yield database

    @contextmanager
    def isolate_by(self, isolation: Isolation, seeds: Sequence[Step] = ()) -> Iterator[None]:
        """Give a test a clean slate, and clean up behind it.

        Raises:
            IsolationError: The isolation cannot be given here, or the test broke out of it.
        """
        reset_permission.require(isolation, self.server, self.rights, self.berth)
        if self._spoilt or self._is_cut_off() or self._has_crashed_unseen(isolation):
            self._recover()
        self._was_used = True
        if self._truncation:
            self._truncation.pay()
        with ExitStack() as stack:
            try:
                self._enter(stack, isolation, seeds)
            except psycopg.DatabaseError as error:
                self._recover_from_crash(error)
                self._enter(stack, isolation, seeds)
            # Before the database is put back, as temporary tables write to its catalog.
            stack.callback(self._make_sessions_new)
            yield

    @contextmanager
    def entering(self, place: Place, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write, where what it writes can be put back."""
        with ExitStack() as stack:
            if reset_permission.can_commit(self.rights, self.berth):
                stack.enter_context(self._restored().entering(place, fixture))
            stack.enter_context(self.application.wider_fixture())
            yield

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        # Whether the server is lost is asked last: it is looked up on the disk.
        if self._truncation and not self.berth.manager.is_lost(self.server):
            self._truncation.leave(fixture, name)

    def sweep(self) -> None:
        """Put back what has come after the last test's end, before any fixture of the next one."""
        if self._is_cut_off():
            self._recover()
        elif self._truncation and not self.berth.manager.is_lost(self.server):
            try:
                self._truncation.sweep()
            except psycopg.DatabaseError as error:
                self._recover_from_crash(error)

    def take_dirty(self) -> list[str]:
        """Return, once, the tables and views that were put back."""
        if self._truncation is None:
            return []
        layers = self._truncation.layers
        found, layers.dirty = layers.dirty, []
        return [f"{self.name}: {each}" for each in found] if self.name else found

    def has_dirty(self) -> bool:
        """Tell whether any table was put back that nobody has asked for yet."""
        return self._truncation is not None and bool(self._truncation.layers.dirty)

    def expect_changes(self) -> None:
        """Let what is written from now on stay, until the next test has ended."""
        if self._rollback:
            self._rollback.expect_changes()
        if self._truncation:
            self._truncation.layers.expect_changes()

    def start_over(self, why: str) -> bool:
        """Put a new clone of the template in the place of the database.

        Where the server has crashed, the template is made anew, too.

        Args:
            why: What is told of it.

        Returns:
            Whether the server has crashed.

        Raises:
            IsolationError: Somebody else is connected: it is tried again before the next test.
        """
        if not self.is_ours:
            return False
        with self.berth.run.timeline.measured("rebuild", POSTGRES.name, detail=why):
            return self._start_over()

    def _start_over(self) -> bool:
        self._disconnect()
        self._spoilt = True
        self.application.leave(self.database)
        known = self.application.backends(self.database)
        hang_up(self.database)
        before = self.checkpointer
        with run_databases.administration(self.server) as connection:
            self.checkpointer = template.rebuild_if_crashed(
                self.berth, self.server, connection, self.steps, self.name
            )
            run_id, fixed_name = self.berth.run.id, self.server.credentials.fixed
            run_databases.drop_unused(connection, run_id, self.database, known, fixed_name)
            run_databases.create(connection, self.server, run_id, self.database, self.template)
        self._spoilt = False
        check_pools(self.database)
        return self.checkpointer != before

    def reopen(self, server: Server) -> None:
        """Make the database anew on the server that takes the place of a lost one."""
        if self._private:
            # What it still does in the background would be done on the new server.
            self._private.close()
            self._private = None
        self._disconnect()
        self.application.close()
        self._open(server)

    def close(self) -> None:
        """Close every connection that berth has opened, private databases' included."""
        self._disconnect()
        self.application.close()
        if self._private:
            self._private.close()

    def _rolled_back(self) -> Rollback:
        if self._rollback is None:
            connect = partial(connections.connect, self.server, self.database)
            self._rollback = Rollback(self.url, connect, self.is_ours, self.start_over)
        return self._rollback

    def _restored(self) -> Truncation:
        if self._truncation is None:
            from pytest_berth.services.postgres.isolation.truncation import Truncation
            from pytest_berth.services.postgres.restore.restore import RestoreConnection

            timeout, note = self.berth.settings[LOCK_TIMEOUT], self.berth.progress.note
            connect = partial(connections.named, self.server, self.database)
            restoring = RestoreConnection(connect, timeout, self.is_ours, self.application)
            timeline = self.berth.run.timeline
            self._truncation = Truncation(
                restoring, self.application, self.start_over, note, timeline
            )
        return self._truncation

    def _private_databases(self) -> PrivateDatabases:
        if self._private is None:
            from pytest_berth.services.postgres.databases.private_databases import PrivateDatabases

            self._private = PrivateDatabases(
                self.berth, self.server, self.application, self.template, self.name
            )
        return self._private

    def _is_cut_off(self) -> bool:
        """Tell whether the server has ended berth's own connections: it may have crashed."""
        if not self.is_ours or self.berth.manager.is_lost(self.server):
            return False
        return any(each.is_cut_off() for each in self._connected())

    def _has_crashed_unseen(self, isolation: Isolation) -> bool:
        """Tell whether the server has crashed where berth had no connection that would tell."""
        if isolation.kind == "none" or not (self.checkpointer and self._was_used):
            return False
        if self._connected() or self.berth.manager.is_lost(self.server):
            return False
        with run_databases.administration(self.server) as connection:
            return backend_crash.checkpointer(connection) != self.checkpointer

    def _connected(self) -> list[Truncation | Rollback | PrivateDatabases]:
        """Return what may have connections of berth's own."""
        return [each for each in (self._truncation, self._rollback, self._private) if each]

    def _recover(self) -> None:
        """Make everything anew; what was made ahead comes from the template as it was."""
        if self._private:
            self._private.close()
        if self.start_over("the server has crashed, or has ended berth's connections"):
            self.berth.progress.note(crash_note("between two tests"))

    def _recover_from_crash(self, error: psycopg.DatabaseError) -> None:
        """Make everything anew if a test of another worker has just crashed the server.

        Raises:
            psycopg.DatabaseError: The error that was given, which means something else.
        """
        if not self._is_cut_off():
            raise error
        self._recover()

    def _disconnect(self) -> None:
        if self._sessions:
            # Not forgotten: tests hold the engine, which connects anew when it is used.
            self._sessions.engine.dispose()
        for opened in (self._truncation, self._rollback):
            if opened:
                opened.close()
        self._truncation = self._rollback = None

    def _make_sessions_new(self) -> None:
        if self._sessions:
            self._sessions.make_new()

    def _enter(self, stack: ExitStack, isolation: Isolation, seeds: Sequence[Step]) -> None:
        if isolation.kind == "rollback":
            stack.enter_context(self._rolled_back().test(seeds))
        elif isolation.kind == DATABASE:
            self._enter_private(stack, seeds)
        else:
            if isolation.kind == "truncation":
                stack.enter_context(self._restored().test())
            else:
                self.expect_changes()
            self._apply(seeds, self.database)

    def _enter_private(self, stack: ExitStack, seeds: Sequence[Step]) -> None:
        exported = self.berth.exports_any(POSTGRES)
        if exported or self.server.credentials.fixed:
            # An application that knows the name, or has read its environment, works in there.
            stack.enter_context(self._restored().test())
        private = self._private_databases()
        database = stack.enter_context(private.activated())
        self._apply(seeds, database.name)
        if exported:
            stack.enter_context(private.exported(database))

    def _apply(self, steps: Sequence[Step], database: str) -> None:
        if steps:
            target = template.target(self.berth, self.server, database)
            for step in steps:
                step.run(target)
