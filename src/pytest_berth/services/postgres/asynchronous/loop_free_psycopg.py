"""Frees psycopg's connections for asyncio from event loops.

They wait as asyncio does where a loop runs, whichever it is, and block where none does.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast

import psycopg
from psycopg import waiting
from psycopg.pq import ConnStatus

from pytest_berth.compat import psycopg_private
from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.advice import COMMITS
from pytest_berth.services.postgres.asynchronous.run_coroutine import has_loop
from pytest_berth.services.postgres.isolation.pooled_sessions import Driver

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from typing_extensions import Self

    from pytest_berth.services.postgres.isolation.rollback_connection import OuterTransaction

T = TypeVar("T")


class LoopFree(psycopg.AsyncConnection[Any]):
    """A connection for asyncio that can be opened, used and closed without an event loop."""

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """Connect, without an event loop where none runs."""
        if has_loop():
            return await cls.connect(dsn)
        return cls(_Opener.connect(dsn).pgconn)

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Run what psycopg has to say to the server."""
        if has_loop():
            return await super().wait(self._while_open(gen), *args, **kwargs)
        return waiting.wait(gen, self.pgconn.socket, 0.1)

    @property
    def busy(self) -> bool:
        """Whether a task waits for the server's answer."""
        return self.lock.locked()

    def abandon(self) -> None:
        """Close the session under the task that uses it."""
        self.pgconn.finish()
        self.lock = asyncio.Lock()

    def _while_open(self, gen: PQGen[T]) -> PQGen[T]:
        """Keep a task that outlives its test from waiting for ever for a closed connection."""
        state = next(gen)
        while True:
            ready = yield state
            if self.pgconn.status == ConnStatus.BAD:
                raise psycopg.OperationalError("the connection was closed at the end of its test")
            try:
                state = gen.send(ready)
            except StopIteration as done:
                value: T = done.value
                return value


class OuterView(LoopFree):
    """The connection of rolled-back tests, for asyncio: its commits are savepoints.

    It sends to the session of the sync connection, so that sync and async fixtures of a test see
    each other's rows and never wait for each other's locks.

    Attributes:
        quiet: Whether SQLAlchemy is only taking the connection or giving it back: it does so with
            a rollback, which would hit what the sync fixtures have not committed.
    """

    def __init__(self, sync: OuterTransaction) -> None:
        # What the server notifies goes to those who have asked for it on the sync connection.
        handlers = sync.pgconn.notice_handler, sync.pgconn.notify_handler
        super().__init__(sync.pgconn)
        sync.pgconn.notice_handler, sync.pgconn.notify_handler = handlers
        # A session knows each name of a prepared statement once.
        psycopg_private.share_statements(self, sync)
        self.sync = sync
        self.quiet = True
        self._before_tests: Driver | None = None
        self._take_turns()

    def __del__(self, *_: Any) -> None:
        """Say nothing: the session is the sync connection's."""

    def begin_test(self) -> None:
        """Forget the event loop of the last test."""
        self.lock = asyncio.Lock()
        # The sync connection has forgotten what the last test has prepared.
        psycopg_private.share_statements(self, self.sync)

    def hand_over(self) -> None:
        """Give the connection to a test; SQLAlchemy has set it up."""
        self._before_tests = self._before_tests or Driver.of(self)
        self.quiet = False

    def take_back(self) -> None:
        """Take the connection from a test, and back what that has set on it."""
        self.quiet = True
        if self._before_tests:
            self._before_tests.put_back(self)

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Run what psycopg has to say to the server, when it is this connection's turn."""
        with self.sync.lock:
            return await super().wait(gen, *args, **kwargs)

    def abandon(self) -> None:
        """Close the session under the task that uses it, which keeps its turn for ever."""
        super().abandon()
        self._take_turns()

    async def commit(self) -> None:
        """End the savepoint that stands for the transaction."""
        async with self.lock:
            self.sync.commit()

    async def rollback(self) -> None:
        """Roll back to the savepoint that stands for the transaction."""
        async with self.lock:
            if not self.quiet:
                self.sync.rollback()

    async def close(self) -> None:
        """Leave the session open: it is the next test's, too."""

    async def set_autocommit(self, value: bool) -> None:
        """Refuse autocommit."""
        self.sync.set_autocommit(value)

    async def set_isolation_level(self, value: psycopg.IsolationLevel | None) -> None:
        """Refuse another isolation level."""
        self.sync.set_isolation_level(value)

    async def set_read_only(self, value: bool | None) -> None:
        """Refuse transactions that only read."""
        self.sync.set_read_only(value)

    async def set_deferrable(self, value: bool | None) -> None:
        """Refuse transactions that wait at their beginning."""
        self.sync.set_deferrable(value)

    def _take_turns(self) -> None:
        self.sync.lock = cast("threading.Lock", Turns())


class Turns:
    """A lock that sync and async code share: who would wait for itself is told, and not locked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner == me:
            raise IsolationError(
                "sync code used the test's connection while async code waited for its answer.",
                why="pg_session, pg_connection and their async counterparts share one connection,"
                " and the event loop cannot go on while sync code holds it up",
                remedy="await the statement before, or give the test connections of its own:"
                f" {COMMITS}",
            )
        self._lock.acquire()
        self._owner = me

    def __exit__(self, *_: object) -> None:
        self._owner = None
        self._lock.release()


class _Opener(psycopg.Connection[Any]):
    """Connects for another one."""

    def __del__(self, *_: Any) -> None:
        """Say nothing: the session has been handed on."""
