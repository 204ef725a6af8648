"""Gives the async fixtures what they yield: engine, connections, sessions of the database."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, cast

from pytest_berth.errors import MissingExtraError
from pytest_berth.services.postgres import sqlalchemy_compat
from pytest_berth.services.postgres.options import ASYNC_DRIVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

    from pytest_berth.services.postgres.asynchronous.loop_free_psycopg import OuterView
    from pytest_berth.services.postgres.databases.database import Database
    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase
    from pytest_berth.services.postgres.isolation.rollback_connection import OuterTransaction


class Driver(Protocol):
    """What a module that knows a driver has to offer."""

    def engine(self, place: IsolatedDatabase | Database) -> AsyncEngine:
        """Return an engine for any event loop."""

    def connect(self, engine: AsyncEngine) -> AsyncConnection:
        """Return a connection that is open, or opens at its first statement."""

    def close(self, resource: AsyncConnection | AsyncSession) -> None:
        """End what a test has used, whether or not its event loop lives on."""


@dataclass
class Access:
    """The async side of a worker's database.

    Everything is made and closed in sync fixtures, so that no event loop is needed, or bound,
    before the test's own runs.

    Attributes:
        database: The worker's.
        driver: ``psycopg`` or ``asyncpg``.
    """

    database: IsolatedDatabase
    driver: str
    _pinned: tuple[OuterView, AsyncEngine] | None = field(default=None, init=False, repr=False)
    _of_private: tuple[IsolatedDatabase | Database, AsyncEngine] | None = field(
        default=None, init=False, repr=False
    )
    _joined: AsyncConnection | None = field(default=None, init=False, repr=False)
    _opened: AsyncSession | None = field(default=None, init=False, repr=False)

    @property
    def engine(self) -> AsyncEngine:
        """An engine for tests that commit: of their private database, or else the worker's."""
        active = self.database.active
        if active is self.database:
            return self._shared
        if self._of_private is None or self._of_private[0] is not active:
            self._of_private = active, self._made_by.engine(active)
        return self._of_private[1]

    @cached_property
    def _shared(self) -> AsyncEngine:
        return self._made_by.engine(self.database)

    @contextmanager
    def connection(self) -> Iterator[AsyncConnection]:
        """Yield the rolled-back test's connection, or a new one for a test that commits."""
        outer = self._outer
        if outer and self._joined:
            yield self._joined
        elif outer:
            with self._join(outer) as connection:
                yield connection
        else:
            connection = self._made_by.connect(self.engine)
            try:
                yield connection
            finally:
                self._made_by.close(connection)

    @contextmanager
    def session(self) -> Iterator[AsyncSession]:
        """Yield the test's session; in a rolled-back test its commits are savepoints."""
        if self._opened:
            yield self._opened
            return
        with ExitStack() as stack:
            bind = stack.enter_context(self.connection()) if self._outer else self.engine
            self._opened = stack.enter_context(self._session(bind))
            try:
                yield self._opened
            finally:
                self._opened = None

    @property
    def _outer(self) -> OuterTransaction | None:
        """The connection of the rolled-back test that runs now; with asyncpg there is none."""
        outer = self.database.outer if self.driver == "psycopg" else None
        return cast("OuterTransaction | None", outer)  # SQLAlchemy is 2 here

    @contextmanager
    def _session(self, bind: AsyncEngine | AsyncConnection) -> Iterator[AsyncSession]:
        from sqlalchemy.ext.asyncio import AsyncSession

        session = AsyncSession(
            bind, join_transaction_mode="create_savepoint", expire_on_commit=False
        )
        try:
            yield session
        finally:
            self._made_by.close(session)

    @contextmanager
    def _join(self, outer: OuterTransaction) -> Iterator[AsyncConnection]:
        self.database.share_connection()
        view, engine = self._view(outer)
        view.begin_test()
        self._joined = self._made_by.connect(engine)
        view.hand_over()
        try:
            yield self._joined
        finally:
            joined, self._joined = self._joined, None
            view.take_back()
            self._made_by.close(joined)

    def _view(self, outer: OuterTransaction) -> tuple[OuterView, AsyncEngine]:
        """Return the view of the connection of rolled-back tests, which may be a new one."""
        from pytest_berth.services.postgres.asynchronous import loop_free_psycopg, psycopg_engine

        if self._pinned is None or self._pinned[0].sync is not outer:
            view = loop_free_psycopg.OuterView(outer)
            self._pinned = view, psycopg_engine.pinned_engine(self.database, view)
        return self._pinned

    @cached_property
    def _made_by(self) -> Driver:
        sqlalchemy_compat.require("pg_async_engine", asyncio=True)
        if find_spec("greenlet") is None:
            raise MissingExtraError("greenlet", "sqlalchemy", needed_by="SQLAlchemy's asyncio")
        if self.driver == "psycopg":
            from pytest_berth.services.postgres.asynchronous import psycopg_engine

            return psycopg_engine
        if find_spec("asyncpg") is None:
            setting = f"{ASYNC_DRIVER.name} = asyncpg"
            raise MissingExtraError("asyncpg", "asyncpg", needed_by=setting)
        from pytest_berth.services.postgres.asynchronous import asyncpg_engine

        return asyncpg_engine
