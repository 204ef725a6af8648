"""Keeps one private database: begun, put back, and closed, with berth's connection to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres import sqlalchemy_compat, urls
from pytest_berth.services.postgres.isolation.pooled_sessions import PooledSessions
from pytest_berth.services.postgres.restore import CloneIsFasterError
from pytest_berth.services.postgres.restore.restore import RestoreConnection
from pytest_berth.services.postgres.server import connections

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from pytest_berth.api import Server
    from pytest_berth.services.postgres.application_connections import Application
    from pytest_berth.services.postgres.restore import Baseline

# Microseconds that a clone takes, at least: in the background, but the next test may wait for it.
_CLONING = 100_000
# After these a clone takes the database's place.
_REPLACED = (
    CloneIsFasterError,
    IsolationError,
    TimeoutError,
    psycopg.OperationalError,
    # Backends of other roles, which not every role may end.
    psycopg.errors.InsufficientPrivilege,
)


@dataclass
class PooledDatabase:
    """A database that belongs to one test at a time.

    Attributes:
        server: Where it is.
        name: Its name.
        template: The database that it is a copy of.
        lock_timeout: Seconds to wait for locks that a test has left.
        application: The application's connections in this process.
        like: What another clone of the template held, where there is one.
        set_aside: Where it is to stay as its test has left it: makes that so.
    """

    server: Server
    name: str
    template: str
    lock_timeout: float
    application: Application = field(repr=False)
    like: Baseline | None = field(default=None, repr=False)
    set_aside: Callable[[], None] | None = field(default=None, init=False, repr=False)
    _connection: RestoreConnection = field(init=False, repr=False)
    _baseline: Baseline | None = field(default=None, init=False, repr=False)
    _sessions: PooledSessions | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        connect = partial(connections.named, self.server, self.name)
        self._connection = RestoreConnection(connect, self.lock_timeout, ours=True)

    def begin(self) -> Baseline:
        """Remember what the database holds, which is what its template holds."""
        self._baseline = self._connection.load(self.like) or self._connection.capture()
        return self._baseline

    def is_clean(self) -> bool:
        """Tell whether nothing has written since the database was put back."""
        self._baseline = self._baseline and self._connection.confirm(self._baseline)
        return self._baseline is not None

    @property
    def held(self) -> tuple[RestoreConnection, Baseline | None]:
        """The connection of berth's, and what the database held before the test."""
        return self._connection, self._baseline

    def is_lost(self) -> bool:
        """Tell whether the server has ended berth's connection."""
        return self._connection.is_lost()

    def engine(self) -> Engine:
        """Return an engine for one test; those of all tests share their connections."""
        # Listeners that a test adds to its engine do not outlive it.
        if self._sessions is None:
            url = urls.url(self.server, self.name)
            pooled = sqlalchemy_compat.engine(url, "the engine of a private database")
            self._sessions = PooledSessions(pooled)
        return self._sessions.engine.execution_options()

    def put_back(self) -> bool:
        """Put the database back; tell whether the next test can have it."""
        baseline, self._baseline = self._baseline, None
        assert baseline, "begin() comes first"
        try:
            if self.server.source == connections.EXTERNAL and self._connection.is_pooled:
                debug("postgres: %s is replaced: nobody knows whose its sessions are", self.name)
                return False
            kept = self._settle()
            self.application.leave(self.name, kept)
            restored = self._connection.restore_alone(baseline, kept, at_most=_CLONING)
        except _REPLACED as error:
            debug("postgres: %s is replaced: %s: %s", self.name, type(error).__name__, error)
            return False
        self._baseline = restored.baseline
        return True

    def close(self) -> None:
        """Close all connections of berth's."""
        self._connection.close()
        if self._sessions:
            self._sessions.engine.dispose()

    def _settle(self) -> tuple[int, ...]:
        """Make the pooled connection as new; return the process id of its backend, if it stays."""
        if self._sessions is None:
            return ()
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.pool import QueuePool

        pool = self._sessions.engine.pool
        if isinstance(pool, QueuePool) and (pool.checkedin(), pool.checkedout()) == (1, 0):
            ended = "the test has ended the pooled connection"
            with ignoring(SQLAlchemyError, psycopg.OperationalError, why=ended):
                return self._sessions.make_new()
        self._sessions.engine.dispose()
        return ()
