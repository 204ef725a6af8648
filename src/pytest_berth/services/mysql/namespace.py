"""What a worker has of a MySQL server: a database of its own, a clone of the run's template."""

from __future__ import annotations

import shlex
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import pymysql

from pytest_berth.api import Namespace
from pytest_berth.debug_log import ignoring
from pytest_berth.errors import require_package
from pytest_berth.file_locks import SharedNumber
from pytest_berth.isolation import recorder
from pytest_berth.isolation.fixture_layers import CapturedLayers
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.run.registry import Registry
from pytest_berth.services.mysql import (
    changed_rows,
    connections,
    error_details,
    open_transactions,
    requirements,
    run_databases,
    schema,
    template,
    urls,
)
from pytest_berth.services.mysql.contents import Contents
from pytest_berth.services.mysql.options import FACTORIES
from pytest_berth.services.mysql.rollback import Rollback, refuse_ended
from pytest_berth.services.mysql.server_objects import ServerObjects
from pytest_berth.services.mysql.service import MYSQL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import pytest
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

    from pytest_berth.api import Server, Worker
    from pytest_berth.isolation.factories.binding import Factories
    from pytest_berth.isolation.fixture_layers import Place
    from pytest_berth.isolation.recorder import Record
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.schema import Step
    from pytest_berth.services.mysql.connections import Ask
    from pytest_berth.services.mysql.contents import Rows

# A report waits no longer for an answer.
_REPORTED_WITHIN = 1.0
_ASKS = "it asks for the password, which mysql_url has;"
_UNCOMMITTED = f"{_ASKS} what a rolled-back test has written is not committed, and not seen there"
_WHILE = f"{_ASKS} as long as the test is stopped (pytest --pdb): it is cleaned up behind it"


class WorkerDatabase(Namespace):
    """The database that tests of one process work in, one after the other.

    Args:
        server: The server.
        worker: Who works on it.
        steps: What makes schema and seeds.
    """

    def __init__(self, server: Server, worker: Worker, steps: Sequence[Step]) -> None:
        self._worker = worker
        self._steps = steps
        self._database = run_databases.name(worker.run_id, worker.name)
        self._template = run_databases.name(worker.run_id, run_databases.TEMPLATE)
        self._engine: Engine | None = None
        self._is_pool_used = False
        self._session: Session | None = None
        self._is_settled = False
        self._sent_beside = 0
        self._use(server)
        self._layers = _Layers(self)

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine of the database."""
        if self._engine is None:
            require_package("sqlalchemy", "mysql", needed_by="mysql_engine")
            from sqlalchemy import create_engine, event

            given = connections.without_tls(self._server)
            self._engine = create_engine(self.url, connect_args=given)
            event.listen(self._engine, "checkout", self._note_use)
        return self._engine

    def _note_use(self, *_: object) -> None:
        self._is_pool_used = True

    def _forget_sessions(self) -> None:
        """Close what waits in the engine's pool, with what a test has set there."""
        is_used, self._is_pool_used = self._is_pool_used, False
        if self._engine and is_used:
            self._engine.dispose()

    def seed(self, lines: Sequence[str]) -> None:
        """Apply seeds to the worker's database.

        Raises:
            SettingsError: A line is none of the known forms.
            SchemaError: A line failed.
        """
        self._apply(schema.parse(self._berth.settings, lines))

    @cached_property
    def async_engine(self) -> AsyncEngine:
        """SQLAlchemy's async engine of the database, for any event loop."""
        from pytest_berth.services.mysql import asynchronous

        return asynchronous.engine(urls.url(self._server, self._database, asynchronous.DRIVER))

    @property
    def dsn(self) -> str:
        """URL of the database that names no driver."""
        return urls.url(self._server, self._database, "")

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield the rolled-back test's connection, or a new one for a test that commits."""
        if self._is_rolled_back:
            yield self._rollback.connection
        else:
            with self.engine.connect() as connection:
                yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield the test's session, which its fixtures and its factories share."""
        if self._session:
            yield self._session
            return
        with self._new_session() as self._session:
            try:
                yield self._session
            finally:
                self._session = None

    def async_session(self) -> AbstractContextManager[AsyncSession]:
        """Open a session for asyncio, whose commits are real."""
        from pytest_berth.services.mysql import asynchronous

        return asynchronous.session(self.async_engine)

    @contextmanager
    def _new_session(self) -> Iterator[Session]:
        """Yield a session; in a rolled-back test its commits and rollbacks are savepoints."""
        require_package("sqlalchemy", "mysql", needed_by="mysql_session")
        from sqlalchemy.orm import Session

        bind = self._rollback.connection if self._is_rolled_back else self.engine
        with Session(bind, join_transaction_mode="create_savepoint") as session:
            yield session

    @property
    def follows_fixtures(self) -> bool:
        """Whether what fixtures of a wider scope write is put back: it is."""
        return True

    @contextmanager
    def isolate(self, item: pytest.Item | None) -> Iterator[None]:
        """Give a test a clean slate, and clean up behind it; a server of its own ends with it.

        Raises:
            IsolationError: A rolled-back test has ended its transaction.
        """
        kind = requirements.isolation_of(item).kind if item else "truncation"
        self._layers.pay()
        with ExitStack() as stack:
            if kind == "none" or self.dedicated:
                self._is_settled = False
            else:
                stack.enter_context(self._restored(item))
            stack.callback(self._forget_sessions)
            if item:
                self._apply(requirements.seeds_of(item))
            if item and kind == "rollback":
                stack.enter_context(self._rolled_back(item))
            if self._factories:
                test = item.nodeid if item else "a test"
                commits = kind != "rollback"
                stack.enter_context(self._factories.for_test(self, test, commits=commits))
            yield

    @property
    def _factories(self) -> Factories | None:
        """The factories that the settings name."""
        berth = self._worker.config.stash[PLUGIN_STATE]
        if not berth.settings[FACTORIES]:
            return None
        from pytest_berth.isolation.factories import binding

        return binding.of(berth, MYSQL)

    @contextmanager
    def _restored(self, item: pytest.Item | None = None) -> Iterator[None]:
        self._layers.begin()
        if self._objects and self._was_changed_beside():
            self._objects.remember()
        self._is_settled = False
        try:
            yield
        finally:
            self._layers.end()
            self._is_settled = True
            if self._objects and self._was_changed_beside():
                self._objects.put_back(item.nodeid if item else "a test")

    def _was_changed_beside(self) -> bool:
        """Tell whether users, databases or global variables may have changed since last asked."""
        sent, self._sent_beside = self._sent_beside, self._contents.sent_beside
        found = recorder.of(self._worker.config)
        records = found.records("mysql") if found else ()
        return sent != self._sent_beside or any(map(_sets_global, records))

    @contextmanager
    def _rolled_back(self, item: pytest.Item) -> Iterator[None]:
        self._rollback.begin()
        self._is_rolled_back = True
        is_whole = False
        try:
            yield
        finally:
            self._is_rolled_back = False
            is_whole = self._rollback.end()
            self._contents.rows_are_back = is_whole and not requirements.other_ways_in(item)
        if not is_whole:
            raise refuse_ended()

    def capture(self) -> Mapping[str, Rows]:
        """Return what each table holds; nobody has written since it was put back, or all may."""
        return self._contents.held if self._is_settled else self._contents.capture()

    def restore(self, baseline: Mapping[str, Rows]) -> None:
        """Make each table hold what it held."""
        self._contents.restore(baseline)

    def sweep(self) -> None:
        """Put back what was written after the last test's end, by threads that outlived it."""
        if self._is_settled:
            self._contents.restore(self._contents.held)

    def expect_changes(self) -> None:
        """Look again what the tables hold, before the next test."""
        self._is_settled = False

    @contextmanager
    def entering(self, place: Place, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write."""
        self._is_settled = False
        with ExitStack() as stack:
            stack.enter_context(self._layers.entering(place, fixture))
            if self._factories:
                where = str(getattr(place.node, "nodeid", ""))
                stack.enter_context(self._factories.for_fixture(self, fixture, where))
            yield

    def note_end(self, fixture: object) -> None:
        """Note that a fixture of a wider scope has ended: nobody is to see what it wrote."""
        self._layers.note_end(fixture)

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        if self._factories:
            self._factories.leave(fixture)
        self._layers.leave(fixture)
        held = self._contents.held.values()
        self._contents.forget_copies(self._layers.copies | {rows.copy for rows in held})

    def take_dirty(self) -> list[str]:
        """Return, once, the tables that were written to."""
        found, self._contents.dirty = self._contents.dirty, set()
        return sorted(found)

    def changes(self, item: pytest.Item) -> Sequence[str]:
        """Tell which rows the test has added, changed and deleted."""
        with self._asking() as ask:
            return changed_rows.lines(ask, self._contents, self._before_test)

    def left_behind(self, item: pytest.Item) -> Sequence[str]:
        """Tell which transactions are open."""
        with self._asking() as ask:
            return list(open_transactions.lines(ask))

    def explain(self, item: pytest.Item, error: BaseException) -> Sequence[str]:
        """Tell what the server knows of an error: the row in the way, the nearest names."""
        failed = error_details.find(item, error)
        if failed is None:
            return ()
        with self._asking() as ask:
            return error_details.lines(ask, failed, self._before_test)

    def masked(self, item: pytest.Item, error: BaseException) -> Mapping[str, str]:
        """Return what an error's message tells of secrets: the value of a key named like one."""
        failed = error_details.find(item, error)
        return error_details.masked(failed) if failed else {}

    def shell_name(self) -> str:
        """Return the name of the database, which `MySQL.client` takes."""
        return self._database

    def shell(self, item: pytest.Item) -> str:
        """Return the command line of the client, and what is to be seen by it."""
        *words, database = urls.client(self._server, self._database)
        command = shlex.join([*words, "--password", database])
        return f"{command}\n{_UNCOMMITTED if self._is_rolled_back else _WHILE}"

    @property
    def _before_test(self) -> Mapping[str, Rows]:
        return self._layers.before_test or self._contents.held

    @contextmanager
    def _asking(self) -> Iterator[Ask]:
        """Yield what sees all that the test has written, and waits for next to nothing."""
        if self._is_rolled_back:
            yield self._rollback.ask
            return
        with connections.connected(self._server, self._database, _REPORTED_WITHIN) as connection:
            yield connection.rows

    def reopen(self, server: Server) -> None:
        """Go on with the server that takes the place of a lost one, with what fixtures wrote."""
        former = self._contents
        self.close()
        self._use(server)
        self._contents.fill_copies(former)
        self._layers.refill()
        self._is_settled = False

    def close(self) -> None:
        """Close all connections."""
        self._forget_connections()
        if self._connection.open:
            self._connection.close()

    def drop(self) -> None:
        """Remove from an external server what this worker has made there."""
        with connections.connected(self._server) as connection:
            for database in (self._database, self._kept):
                run_databases.drop(connection, database)

    @property
    def _kept(self) -> str:
        return f"{self._database}_kept"

    def _use(self, server: Server) -> None:
        self._server = server
        self.url = urls.url(server, self._database)
        build = template.build if self._worker.dedicated else template.build_once
        build(self._berth, server, self._steps)
        with connections.connected(server) as connection:
            run_databases.create(connection, self._database)
            run_databases.clone(connection, self._template, self._database)
        self._connection = connections.connect(server, self._database)
        registry = Registry(self._berth.run.directory)
        own_ddl = SharedNumber(registry.number(f"mysql.ddl.{server.key}.{server.restarts}"))
        self._contents = Contents(
            self._connection, self._database, self._template, self._kept, own_ddl
        )
        self._contents.forget_connections = self._forget_connections
        self._rollback = Rollback(server, self._database, self.url)
        self._is_rolled_back = False
        is_alone = bool(server.slot) or self._worker.workers == 1
        self._objects: ServerObjects | None = None
        if is_alone and server.source != "external" and not self._worker.dedicated:
            place = self._contents.place
            self._objects = ServerObjects(self._connection, place, self._worker.note)
        self._sent_beside = self._contents.sent_beside

    @property
    def _berth(self) -> PluginState:
        return self._worker.config.stash[PLUGIN_STATE]

    def _apply(self, steps: Sequence[Step]) -> None:
        template.run(self._berth, steps, self._server, self._database)

    def _forget_connections(self) -> None:
        self._rollback.close()
        if self._engine:
            self._engine.dispose()


def _sets_global(record: Record) -> bool:
    text = record.text.upper()
    return "GLOBAL" in text and "SET" in text


class _Layers(CapturedLayers):
    """The layers of what fixtures of wider scopes wrote."""

    @property
    def copies(self) -> set[str]:
        """The copies of tables that something may be put back from."""
        baselines = [*self.baselines, self._known]
        return {rows.copy for baseline in baselines for rows in baseline.values()}


@contextmanager
def opened(server: Server, worker: Worker) -> Iterator[WorkerDatabase]:
    """Open a worker's database.

    Raises:
        SchemaError: A line of schema or seeds failed.
    """
    berth = worker.config.stash[PLUGIN_STATE]
    steps = schema.parse(berth.settings, [worker.fixtures[name] for name in MYSQL.needs])
    database = WorkerDatabase(server, worker, steps)
    try:
        yield database
    finally:
        database.close()
        if server.source == "external":
            with ignoring(pymysql.Error, why="the run's end drops the databases that are left"):
                database.drop()
