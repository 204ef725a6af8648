"""Makes sessions as new, so that what one test leaves in them does not reach the next.

What SET, PREPARE, LISTEN, advisory locks and temporary tables leave in a session outlives commits
and rollbacks. A connection that tests share is made as new in one round trip, and psycopg's own
books are kept in step with it. That was measured to take 2 ms where
connecting takes 25.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.pq import ExecStatus, TransactionStatus

from pytest_berth.compat import psycopg_private
from pytest_berth.services.postgres.server.connections import exchange

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from pytest_berth.compat.psycopg_private import AnyConnection

# What a rollback does not take back.
PAST_ROLLBACK = b"DEALLOCATE ALL; SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD SEQUENCES"
# All that DISCARD ALL does, which cannot be sent with anything else.
_AS_NEW = (
    b"CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; "
    b"DISCARD PLANS; DISCARD TEMP; " + PAST_ROLLBACK
)
_ATTRIBUTES = ("row_factory", "cursor_factory", "server_cursor_factory")
# Setting one asks whether there is a transaction, so that it is set only where it differs.
_CHARACTERISTICS = ("autocommit", "isolation_level", "read_only", "deferrable")
_BEFORE_TESTS = "pytest_berth.driver"


class Driver(NamedTuple):
    """What psycopg's connection itself was set to before tests had it.

    Attributes:
        values: Attributes, by their names.
        handlers: What is told of notices and notifications.
        adapters: How types are converted.
    """

    values: Mapping[str, object]
    handlers: Mapping[str, Collection[object]]
    adapters: AdaptersMap

    @classmethod
    def of(cls, connection: AnyConnection) -> Driver:
        """Return what a connection is set to now."""
        return cls(
            {name: getattr(connection, name) for name in (*_ATTRIBUTES, *_CHARACTERISTICS)},
            psycopg_private.handlers(connection),
            AdaptersMap(connection.adapters),
        )

    def put_back(self, connection: AnyConnection) -> None:
        """Set a connection to this, which is outside a transaction."""
        for name, value in self.values.items():
            if getattr(connection, name) != value:
                setattr(connection, name, value)
        psycopg_private.set_handlers(connection, self.handlers)
        psycopg_private.set_adapters(connection, AdaptersMap(self.adapters))
        psycopg_private.forget_statements(connection)


def make_new(connection: object, driver: Driver) -> bool:
    """Make a session as new; tell whether that could be done.

    Args:
        connection: psycopg's.
        driver: What it was set to before tests had it.
    """
    if not isinstance(connection, psycopg.Connection):
        return False
    try:
        if connection.info.transaction_status != TransactionStatus.IDLE:
            return False
        if exchange(connection, _AS_NEW).status == ExecStatus.FATAL_ERROR:
            return False
        driver.put_back(connection)
    except psycopg.OperationalError:
        return False  # it is closed, or lost
    return True


@dataclass
class PooledSessions:
    """The sessions of an engine that tests share.

    Attributes:
        engine: The engine, whose pool keeps connections of psycopg, or psycopg2.
    """

    engine: Engine
    # Process ids of backends, not connections: other threads may add some at any time.
    _used: set[int] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        from sqlalchemy import event

        event.listen(self.engine, "checkout", self._note)

    @property
    def used(self) -> frozenset[int]:
        """Process ids of the backends that the running test has used."""
        return frozenset(self._used.copy())

    def make_new(self) -> tuple[int, ...]:
        """Make those sessions as new that were used since the last time, and are idle now.

        Returns:
            The process ids of the backends behind all idle ones; they are not looked for where
            none was used.
        """
        used = self._used.copy()
        kept = []
        with ExitStack() as stack:
            # The pool gives the oldest first, not the used ones.
            for pooled in [self._taken(stack) for _ in range(self._idle() if used else 0)]:
                pid = _backend(pooled.dbapi_connection)
                self._used.discard(pid)
                if pid not in used or self._is_made_new(pooled):
                    kept.append(pid)
                else:
                    pooled.invalidate()
        return tuple(kept)

    def _note(
        self, dbapi_connection: object, entry: ConnectionPoolEntry, _: PoolProxiedConnection
    ) -> None:
        pid = _backend(dbapi_connection)
        if not pid:
            return
        self._used.add(pid)
        if isinstance(dbapi_connection, psycopg.Connection) and _BEFORE_TESTS not in entry.info:
            entry.info[_BEFORE_TESTS] = Driver.of(dbapi_connection)

    def _idle(self) -> int:
        from sqlalchemy.pool import QueuePool

        pool = self.engine.pool
        return pool.checkedin() if isinstance(pool, QueuePool) else 0

    def _taken(self, stack: ExitStack) -> PoolProxiedConnection:
        pooled = self.engine.raw_connection()
        stack.callback(pooled.close)
        return pooled

    def _is_made_new(self, pooled: PoolProxiedConnection) -> bool:
        if self._is_set_up():
            return False
        driver = pooled.info.get(_BEFORE_TESTS)
        # psycopg2, which SQLAlchemy 1.4 works with, connects anew.
        return driver is not None and make_new(pooled.dbapi_connection, driver)

    def _is_set_up(self) -> bool:
        """Tell whether the application sets new sessions up: only connecting anew does so again."""
        listeners = self.engine.pool.dispatch.connect
        modules = (getattr(listener, "__module__", None) or "" for listener in listeners)
        return not all(module.startswith("sqlalchemy.") for module in modules)


def _backend(connection: object) -> int:
    try:
        return getattr(getattr(connection, "info", None), "backend_pid", 0)
    except psycopg.OperationalError:
        return 0  # it is closed
