"""Finds the application's connections in this process, by the ids of their backends.

A transaction that outlived its test is rolled back where it was begun, so that the application can
go on with its connection; the server could only end the connection.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import psycopg

from pytest_berth.compat import (
    asyncpg_private,
    django_private,
    psycopg2_private,
    sqlalchemy_private,
)
from pytest_berth.debug_log import ignoring
from pytest_berth.run.startup_objects import all_objects

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import FrameType, ModuleType

    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

_log = logging.getLogger(__name__)
_NOT_THE_CALLER = ("sqlalchemy.", "contextlib", "pytest_berth.")
# What is noted of a connection of SQLAlchemy's pools.
_BACKEND = "pytest_berth.backend"


class Backend(Protocol):
    """A backend of the server, whose transaction is open."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def state(self) -> str:
        """What it does, as ``pg_stat_activity`` says."""


class Checkout(NamedTuple):
    """Where a connection was last taken from its pool.

    Attributes:
        test: The number of the test that was running then; 0 where none was.
    """

    pid: int
    database: str
    place: str
    test: int

    @property
    def in_test(self) -> bool:
        """Whether a test was running then."""
        return self.test > 0


@dataclass
class Application:
    """The connections of this process, as far as they can be found.

    Attributes:
        wider: Process ids of backends whose transactions belong to a fixture of a wider scope, or
            to a class, and whether what a test writes there stays for the next one. Drivers send
            BEGIN with the first query only, which may be a test's.
    """

    wider: dict[int, bool] = field(default_factory=dict, init=False)
    _test: int = field(default=0, init=False)
    _tests: int = field(default=0, init=False)
    _checkouts: WeakKeyDictionary[ConnectionPoolEntry, Checkout] = field(
        default_factory=WeakKeyDictionary, init=False
    )
    _watched: ModuleType | None = field(default=None, init=False)

    def watch(self) -> bool:
        """Take note, from now on, of what is taken from SQLAlchemy's pools, and where.

        Returns:
            Whether this has begun now: as long as nobody has imported SQLAlchemy, it cannot.
        """
        alchemy = sys.modules.get("sqlalchemy")
        if self._watched or alchemy is None or "sqlalchemy.pool" not in sys.modules:
            return False
        self._watched = alchemy
        alchemy.event.listen(alchemy.pool.Pool, "checkout", self._note)
        return True

    def close(self) -> None:
        """Take note no more."""
        if self._watched:
            self._watched.event.remove(self._watched.pool.Pool, "checkout", self._note)
            self._watched = None

    @contextmanager
    def test(self) -> Iterator[None]:
        """Tell what is begun from now on, until the test has ended, from what a wider scope has."""
        self.note_wider()
        self._tests += 1
        outer, self._test = self._test, self._tests
        try:
            yield
        finally:
            self._test = outer

    @contextmanager
    def wider_fixture(self) -> Iterator[None]:
        """Take what is begun in the meantime for a fixture's of a wider scope."""
        test, self._test = self._test, 0
        try:
            yield
        finally:
            self._test = test
            self.note_wider()

    def note_wider(self) -> None:
        """Take note of connections that are in the hands of a wider scope."""
        self._catch_up(0)
        held = {
            checkout.pid: True
            for entry, checkout in self._known()
            if entry.in_use and not checkout.in_test
        }
        self.wider = {**held, **dict(_of_django())}

    def place(self, opened: Backend) -> str:
        """Return the file and line that a transaction's connection was taken at; else nothing."""
        return self.place_of(opened.pid)

    def place_of(self, pid: int) -> str:
        """Return the file and line that the connection to a backend was taken at; else nothing."""
        return next((each.place for _, each in self._of(pid)), "")

    def not_returned(self, database: str) -> dict[int, str]:
        """Return where the running test has taken connections that a pool has not got back.

        By the process ids of their backends; where the place is not known, it is left out.
        """
        return {
            checkout.pid: checkout.place
            for entry, checkout in self._known()
            if checkout.database == database
            and entry.in_use
            and checkout.test == self._test > 0
            and checkout.place
        }

    def roll_back(self, opened: Backend, database: str) -> bool:
        """Roll a transaction back through its connection; tell whether that could be done."""
        if not opened.state.startswith("idle in transaction"):
            return False
        for connection in _connections():
            if _backend(connection) == (opened.pid, database):
                return _rolled_back(connection)
        return False

    def lost(self, opened: Backend) -> None:
        """Let the pool replace a connection that the server has ended, when it is next used."""
        for entry, _ in self._of(opened.pid):
            entry.invalidate(soft=True)

    def _catch_up(self, test: int) -> None:
        """Find what was taken from pools since SQLAlchemy was imported, which nobody told."""
        if not self.watch():
            return
        for entry in _objects((sqlalchemy_private.pool_entries(),)):
            # The name of 1.4 and later, and that of before.
            connection = getattr(entry, "dbapi_connection", None) or entry.connection
            pid, database = _backend(getattr(connection, "driver_connection", connection))
            if pid:
                self._checkouts[entry] = Checkout(pid, database, "", test)

    def leave(self, database: str, kept: Collection[int] = ()) -> None:
        """Let all pools replace their connections to a database, when they are next used.

        Args:
            database: Its name.
            kept: Process ids of the backends that stay.
        """
        for entry, checkout in self._known():
            if checkout.database == database and checkout.pid not in kept:
                entry.invalidate(soft=True)

    def backends(self, database: str) -> set[int]:
        """Return the process ids of the backends that this process is connected to."""
        pooled = {each.pid for _, each in self._known() if each.database == database}
        found = map(_backend, (*_connections(), *_async_connections()))
        return pooled | {pid for pid, name in found if name == database}

    def idle(self, database: str) -> set[int]:
        """Return those that are in nobody's hands, as far as pools tell that."""
        taken = {each.pid for entry, each in self._known() if entry.in_use}
        return self.backends(database) - taken

    def _of(self, pid: int) -> list[tuple[ConnectionPoolEntry, Checkout]]:
        return [(entry, each) for entry, each in self._known() if each.pid == pid]

    def _known(self) -> Iterator[tuple[ConnectionPoolEntry, Checkout]]:
        self._catch_up(self._test or 1)
        # Other threads add to it at any time; only the references are copied in one go.
        for reference in self._checkouts.keyrefs():
            entry = reference()
            checkout = None if entry is None else self._checkouts.get(entry)
            if entry is not None and checkout is not None:
                yield entry, checkout

    def _note(
        self, dbapi_connection: Any, entry: ConnectionPoolEntry, _: PoolProxiedConnection
    ) -> None:
        told: tuple[int, str] | None = entry.info.get(_BACKEND)
        if told is None:
            # An async driver's connection is wrapped.
            told = _backend(getattr(dbapi_connection, "driver_connection", dbapi_connection))
            if not told[0]:
                return
            entry.info[_BACKEND] = told  # ends with the connection
        self._checkouts[entry] = Checkout(told[0], told[1], _caller(), self._test)


def hang_up(database: str) -> None:
    """Close what other drivers keep idle, so that they connect anew when it is next used.

    The server's word that it ends a connection would reach them in the middle of their next query.
    """
    asyncpg, psycopg2 = sys.modules.get("asyncpg"), sys.modules.get("psycopg2.pool")
    for connection in _objects((asyncpg.Connection,)) if asyncpg else ():
        if _backend(connection)[1] == database:
            _terminate(connection)
    for pool in _objects((psycopg2.AbstractConnectionPool,)) if psycopg2 else ():
        psycopg2_private.close_idle(pool, lambda each: _backend(each)[1] == database)
    for wrapper in _wrappers_of_django():
        if not wrapper.in_atomic_block and _backend(wrapper.connection)[1] == database:
            wrapper.close()


def _terminate(connection: Any) -> None:
    """Close a connection of asyncpg's, in its event loop where that runs in another thread."""
    loop = asyncpg_private.loop(connection)
    try:
        if loop.is_running():
            loop.call_soon_threadsafe(connection.terminate)
        else:
            connection.terminate()
    except RuntimeError as error:  # the loop is closed
        _log.debug("a connection of asyncpg's could not be closed: %s", error)


def check_pools(database: str) -> None:
    """Let psycopg's own pools replace the connections to a database that are lost."""
    pools = sys.modules.get("psycopg_pool")
    if pools is None:
        return
    for found in all_objects():
        if issubclass(type(found), pools.ConnectionPool) and _leads_to(found, database):
            with ignoring(pools.PoolClosed, why="a closed pool needs no check"):
                found.check()


def _of_django() -> Iterator[tuple[int, bool]]:
    """Yield the backends of Django's connections that are in an atomic block, in this thread.

    What a test writes in the block of its TestCase is rolled back to a savepoint.
    """
    for wrapper in _wrappers_of_django():
        if wrapper.in_atomic_block:
            blocks = wrapper.atomic_blocks
            of_test_case = all(map(django_private.is_of_test_case, blocks))
            yield _backend(wrapper.connection)[0], not of_test_case


def _wrappers_of_django() -> Iterator[Any]:
    """Yield what Django's open connections are wrapped in, in this thread."""
    conf, db = sys.modules.get("django.conf"), sys.modules.get("django.db")
    if conf is None or db is None or not conf.settings.configured:
        return
    for wrapper in db.connections.all(initialized_only=True):
        if wrapper.connection is not None:
            yield wrapper


def _leads_to(pool: Any, database: str) -> bool:
    conninfo = "" if pool.closed else pool.conninfo
    if not isinstance(conninfo, str):
        return False
    return psycopg.conninfo.conninfo_to_dict(conninfo).get("dbname") == database


def _connections() -> Iterator[Any]:
    """Yield the open connections of drivers that can roll back in a thread."""
    psycopg2 = sys.modules.get("psycopg2.extensions")
    kinds = (psycopg.Connection, psycopg2.connection) if psycopg2 else (psycopg.Connection,)
    yield from _objects(kinds)


def _async_connections() -> Iterator[Any]:
    """Yield the open connections of drivers for asyncio."""
    asyncpg = sys.modules.get("asyncpg")
    kinds = (psycopg.AsyncConnection, asyncpg.Connection) if asyncpg else (psycopg.AsyncConnection,)
    yield from _objects(kinds)


def _objects(kinds: tuple[type, ...]) -> Iterator[Any]:
    for found in all_objects():
        # Not isinstance(), which may wake a lazy object.
        if issubclass(type(found), kinds):
            yield found


def _rolled_back(connection: Any) -> bool:
    """Roll back a connection that its owner may use, or close, at the same time."""
    try:
        connection.rollback()
        if _is_in_transaction_of_psycopg2(connection):
            # Where BEGIN was sent as SQL, under autocommit, psycopg2 has sent nothing.
            connection.cursor().execute("ROLLBACK")
    except Exception as error:  # each driver has its own kinds
        _log.debug("a connection could not be rolled back: %s", error)
        return False
    return True


def _is_in_transaction_of_psycopg2(connection: Any) -> bool:
    driver = sys.modules.get("psycopg2.extensions")
    if driver is None or not isinstance(connection, driver.connection):
        return False
    return bool(connection.get_transaction_status() != driver.TRANSACTION_STATUS_IDLE)


def _backend(connection: Any) -> tuple[int, str]:
    """Return a connection's backend and database; nothing where that cannot be told.

    It is the application's: a thread may close it meanwhile, and it may not even be open yet.
    """
    try:
        return _told_backend(connection)
    except Exception as error:  # each driver has its own kinds
        _log.debug("a connection cannot be looked at: %s", error)
        return 0, ""


def _told_backend(connection: Any) -> tuple[int, str]:
    info = getattr(connection, "info", None)
    if info is not None:
        return getattr(info, "backend_pid", 0), getattr(info, "dbname", "")
    get_pid = getattr(connection, "get_server_pid", None)  # asyncpg
    if get_pid is not None:
        return get_pid(), asyncpg_private.database(connection)
    return 0, ""


def _caller() -> str:
    """Return the innermost line that is neither SQLAlchemy's nor ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(_NOT_THE_CALLER):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return ""
