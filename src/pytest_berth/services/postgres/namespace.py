"""Gives a worker its part of a server: its database, and those of ``berth_pg_databases``."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_berth.api import Namespace
from pytest_berth.collection.requirements import active_fixtures, fixtures_reached
from pytest_berth.compat import pytest_private
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.services.postgres import sqlalchemy_compat
from pytest_berth.services.postgres.advice import running_test
from pytest_berth.services.postgres.databases import template
from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase
from pytest_berth.services.postgres.isolation import reset_permission
from pytest_berth.services.postgres.isolation.choice import Isolation
from pytest_berth.services.postgres.options import ASYNC_DRIVER, DATABASES, FACTORIES
from pytest_berth.services.postgres.requirements import (
    Requirements,
    may_commit,
    requirements_of,
)
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import pytest
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from pytest_berth.api import Kept, Server, Worker
    from pytest_berth.isolation.factories.binding import Factories
    from pytest_berth.isolation.fixture_layers import Place
    from pytest_berth.services.postgres.asynchronous.fixture_access import Access
    from pytest_berth.services.postgres.databases.named_databases import NamedDatabases
    from pytest_berth.services.postgres.server_objects import ServerObjects

# Of what commits, those that a test may as well have rolled back.
_ENGINES = ("pg_engine", "pg_async_engine")
_AT_RUN_TIME = Requirements(Isolation("truncation", "fixtures are asked for at run time"), ())


class WorkerDatabase(IsolatedDatabase, Namespace):  # type: ignore[override]  # url is asked for
    """The worker's database: each test is isolated in it in the way that it asks for."""

    _named: NamedDatabases | None = None
    _server_objects: ServerObjects | None = None
    _session: Session | None = None

    @property
    def named(self) -> NamedDatabases:
        """The application's further databases."""
        if self._named is None:
            from pytest_berth.services.postgres.databases.named_databases import NamedDatabases

            self._named = NamedDatabases(self)
        return self._named

    @cached_property
    def asynchronous(self) -> Access:
        """The database's engine, connections and sessions for asyncio."""
        from pytest_berth.services.postgres.asynchronous.fixture_access import Access

        return Access(self, self.berth.settings[ASYNC_DRIVER])

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield the test's session, which its fixtures and its factories share."""
        if self._session:
            yield self._session
            return
        with super().session() as self._session:
            try:
                yield self._session
            finally:
                self._session = None

    def async_session(self) -> AbstractContextManager[AsyncSession]:
        """Open the test's session for asyncio, or join it."""
        return self.asynchronous.session()

    @property
    def follows_fixtures(self) -> bool:
        """Whether what fixtures of a wider scope write is put back: it is."""
        return True

    @contextmanager
    def isolate(self, item: pytest.Item | None) -> Iterator[None]:
        """Give a test a clean slate by its own isolation.

        One that may ask for Postgres only while it runs gets ``truncation``, where it is possible.
        """
        if item is None and not self.is_ours:
            yield
            return
        asked = _AT_RUN_TIME
        if item is not None:
            sqlalchemy_compat.require_for(active_fixtures(item))
            asked = requirements_of(item)
        with ExitStack() as stack:
            if item is not None and asked.max_queries is not None:
                from pytest_berth.services.postgres import queries

                stack.enter_context(queries.limited(item.config, asked.max_queries))
            if self.berth.settings[DATABASES]:
                stack.enter_context(self.named.isolate_by(asked.isolation))
            stack.enter_context(self._server_objects_put_back(asked.isolation))
            stack.enter_context(self.isolate_by(asked.isolation, asked.seeds))
            factories = self._factories
            if factories:
                test = item.nodeid if item else running_test()
                commits = asked.isolation.kind != "rollback"
                stack.enter_context(factories.for_test(self, test, commits=commits))
            yield
        if item is not None:
            self._note_reading(item, asked.isolation)

    @contextmanager
    def entering(self, place: Place, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write, into any of the databases."""
        with ExitStack() as stack:
            if self.berth.settings[DATABASES]:
                stack.enter_context(self.named.entering(place, fixture))
            stack.enter_context(super().entering(place, fixture))
            factories = self._factories
            if factories and reset_permission.can_commit(self.rights, self.berth):
                where = str(getattr(place.node, "nodeid", ""))
                stack.enter_context(factories.for_fixture(self, fixture, where))
            yield

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, in all databases."""
        with ExitStack() as stack:
            for database in self._opened():
                stack.callback(database.leave, fixture, name)
            stack.callback(super().leave, fixture, name)
            if self._factories:
                stack.callback(self._factories.leave, fixture)

    def shell_name(self) -> str:
        """Return the name of the worker's database."""
        return self.active.database

    def seed(self, lines: Sequence[str]) -> None:
        """Apply seeds to the worker's database.

        Raises:
            SettingsError: A line is none of the known forms.
            SchemaError: A step failed.
        """
        steps = template.parse(self.berth, *lines)
        for step in steps:
            step.check()
        template.run(self.berth, steps, self.server, self.active.database)

    def peek(self) -> str:
        """Copy what a rolled-back test has done to where a second connection sees it."""
        from pytest_berth.services.postgres import peek

        return peek.look(self)

    def keep(self, item: pytest.Item, name: str, until: float) -> list[Kept]:
        """Copy what a failed test has done into databases of its own."""
        from pytest_berth.services.postgres import keep_failed

        reaches = "pg_databases" in fixtures_reached(item, POSTGRES) or self.berth.exports
        databases = [self, *(self._opened() if reaches else [])]
        return [
            kept
            for database in databases
            for kept in keep_failed.keep(database, item.nodeid, name, until)
        ]

    def sweep(self) -> None:
        """Put back what has come after the last test's end, in all databases."""
        super().sweep()
        for database in self._opened():
            database.sweep()

    def expect_changes(self) -> None:
        """Let what is written from now on stay, until the next test has ended."""
        super().expect_changes()
        for database in self._opened():
            database.expect_changes()
        if self._server_objects:
            self._server_objects.expect_changes()

    def may_write(self, item: pytest.Item) -> bool:
        """Tell whether a test, or what it uses, has a way to commit."""
        return may_commit(item)

    def take_dirty(self) -> list[str]:
        """Return, once, the tables and views that were put back."""
        found = super().take_dirty()
        return found + [name for database in self._opened() for name in database.take_dirty()]

    def changes(self, item: pytest.Item) -> list[str]:
        """Describe what a test has changed in all databases."""
        from pytest_berth.services.postgres.failure import changes

        return changes.of([self, *self._opened()])

    def sent_elsewhere(self, item: pytest.Item) -> list[str]:
        """Describe what other processes have sent last."""
        from pytest_berth.services.postgres.failure import elsewhere

        return elsewhere.of([self, *self._opened()], item)

    def left_behind(self, item: pytest.Item) -> list[str]:
        """Describe the transactions, locks and connections that a test leaves open."""
        from pytest_berth.services.postgres.failure import left_open

        return left_open.of([self, *self._opened()], item)

    def explain(self, item: pytest.Item, error: BaseException) -> list[str]:
        """Tell what the server knows of an error."""
        from pytest_berth.services.postgres.failure import explain

        return explain.lines([self, *self._opened()], item, error)

    def masked(self, item: pytest.Item, error: BaseException) -> Mapping[str, str]:
        """Return the detail of an error that has values of columns such as passwords."""
        from pytest_berth.services.postgres.failure import masked_details

        return masked_details.of([self, *self._opened()], error)

    def shell(self, item: pytest.Item) -> str:
        """Return the command that opens psql in the test's database."""
        from pytest_berth.services.postgres.failure import shell

        return shell.command(self)

    def plans(self, item: pytest.Item, statements: Sequence[tuple[str, Any]]) -> list[str]:
        """Return how the server would carry out statements of a test."""
        from pytest_berth.services.postgres.failure import plans

        return plans.of(self, statements)

    def audit(self) -> Mapping[str, str | None]:
        """Return what all databases of the worker hold, and who is at work in them."""
        from pytest_berth.services.postgres import audit

        found: dict[str, str | None] = {}
        for each in (self, *self._opened()):
            of_one = audit.of_database(self.server, each.database, each.application.idle)
            where = f" in the database {each.name!r}" if each.name else ""
            found |= {f"{name}{where}": text for name, text in of_one.items()}
        return found

    @property
    def generation(self) -> str:
        """Another text each time that the server has crashed, and the template was built anew."""
        return self.checkpointer

    def audit_server(self) -> Mapping[str, str | None]:
        """Return what there is beside databases of tests, on a server that is berth's own."""
        from pytest_berth.services.postgres import audit

        return {} if self.server.source == "external" else audit.of_server(self.server)

    def reopen(self, server: Server) -> None:
        """Make all databases anew on the server that takes the place of a lost one."""
        if self._server_objects:
            self._server_objects.close()
            self._server_objects = None
        super().reopen(server)
        for database in self._opened():
            database.reopen(server)

    def close(self) -> None:
        """Close every connection that berth has opened."""
        super().close()
        for database in self._opened():
            database.close()
        if self._server_objects:
            self._server_objects.close()

    def _note_reading(self, item: pytest.Item, isolation: Isolation) -> None:
        """Note where a test itself has asked for an engine that commits, and wrote nothing."""
        engine = isolation.reason.partition(" ")[0]
        if engine not in _ENGINES or isolation.kind != "truncation":
            return
        arguments = getattr(pytest_private.fixture_info(item), "argnames", ())
        if engine in arguments and not (self.has_dirty() or self.berth.exports_any(POSTGRES)):
            timeline = self.berth.run.timeline
            began = timeline.now()
            timeline.add("read only", POSTGRES.name, began, test=item.nodeid, detail=engine)

    def has_dirty(self) -> bool:
        """Tell whether any table was put back that nobody has asked for yet."""
        return super().has_dirty() or any(each.has_dirty() for each in self._opened())

    @property
    def _factories(self) -> Factories | None:
        """The factories that the settings name."""
        if not self.berth.settings[FACTORIES]:
            return None
        from pytest_berth.isolation.factories import binding

        return binding.of(self.berth, POSTGRES)

    def _opened(self) -> list[IsolatedDatabase]:
        return self._named.opened if self._named else []

    @contextmanager
    def _server_objects_put_back(self, isolation: Isolation) -> Iterator[None]:
        """Put back what a test changes beside its database, where that can be told."""
        if isolation.kind == "none" or self._spoilt:
            self.expect_changes()
            yield
            return
        known = self._known_server_objects()
        known.remember()
        try:
            yield
        finally:
            known.put_back(running_test(), wrote=self._wrote(isolation))

    def _known_server_objects(self) -> ServerObjects:
        if self._server_objects is None:
            from pytest_berth.services.postgres.server_objects import ServerObjects

            watched = self.server.source != "external" and self.berth.run.workers == 1
            self._server_objects = ServerObjects(self.server, watched, self.berth.progress.note)
        return self._server_objects

    def _wrote(self, isolation: Isolation) -> bool:
        """Tell whether a test may have committed anything, be it in one of several databases."""
        if isolation.kind == "truncation" and self._named is None:
            return self._truncation is None or self._truncation.layers.wrote
        return isolation.kind != "rollback" or self._named is not None


@contextmanager
def opened(server: Server, worker: Worker) -> Iterator[WorkerDatabase]:
    """Open the worker's database.

    Raises:
        SchemaError: A step failed.
    """
    steps = template.parse(
        worker.config.stash[PLUGIN_STATE], *(worker.fixtures[name] for name in POSTGRES.needs)
    )
    with closing(WorkerDatabase(worker.config.stash[PLUGIN_STATE], server, steps)) as database:
        yield database
