"""Advisory locks that say which databases on a shared server are in use.

Each worker holds, on a session of its own and for its whole life, a lock of its run's id: a run
whose lock is free has no worker. Whoever shares a template holds a lock of it, and whoever builds
or drops one another. Locks end with their sessions, however these end.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_berth.debug_log import ignoring
from pytest_berth.services.postgres.server import connections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import psycopg

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState

# The first half of the key says whose lock it is: no other program's, and of which kind.
RUN, TEMPLATE, BUILDING = 0x62657201, 0x62657202, 0x62657203
# The sessions that say that this worker lives, by the keys of their servers.
_SESSIONS = pytest.StashKey["dict[str, psycopg.Connection[Any]]"]()
# Routers forget a connection that says nothing.
_KEEP_ALIVE: dict[str, Any] = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10}
_ALONE, _SHARED = "advisory_lock", "advisory_lock_shared"
_TRY = f"SELECT pg_catalog.pg_try_{_ALONE}(%s, %s)"
_HELD = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted
  AND classid = %s::bigint::oid AND objid = %s::bigint::oid AND mode = %s
  AND pid <> pg_catalog.pg_backend_pid()
)
"""


class Lock(NamedTuple):
    """An advisory lock.

    Attributes:
        kind: `RUN`, `TEMPLATE` or `BUILDING`.
        name: A run's id, or a template's fingerprint: hexadecimal digits.
    """

    kind: int
    name: str

    @property
    def keys(self) -> tuple[int, int]:
        """The two halves of the key, as the server takes them: with a sign."""
        number = int(self.name[:8], 16)
        return self.kind, number - (1 << 32 if number >= 1 << 31 else 0)

    def share(self, connection: psycopg.Connection[Any]) -> None:
        """Hold it beside others, until the session ends; waits while one holds it alone."""
        connection.execute("SELECT pg_catalog.pg_advisory_lock_shared(%s, %s)", self.keys)

    def unshare(self, connection: psycopg.Connection[Any]) -> None:
        """Hold it no longer."""
        connection.execute("SELECT pg_catalog.pg_advisory_unlock_shared(%s, %s)", self.keys)

    @contextmanager
    def alone(
        self, connection: psycopg.Connection[Any], on_waiting: Callable[[], None]
    ) -> Iterator[None]:
        """Hold it alone; waits while others hold it, which is told first."""
        if not _value(connection, _TRY, self.keys):
            on_waiting()
            connection.execute("SELECT pg_catalog.pg_advisory_lock(%s, %s)", self.keys)
        try:
            yield
        finally:
            self._unlock(connection, _ALONE)

    def if_not_shared(self, connection: psycopg.Connection[Any]) -> AbstractContextManager[bool]:
        """Hold it alone if nobody shares it, and yield whether it is held now."""
        return self._if_not_held(connection, by="ShareLock", take=_ALONE)

    def if_not_alone(self, connection: psycopg.Connection[Any]) -> AbstractContextManager[bool]:
        """Share it if nobody holds it alone, and yield whether it is held now."""
        return self._if_not_held(connection, by="ExclusiveLock", take=_SHARED)

    @contextmanager
    def _if_not_held(
        self, connection: psycopg.Connection[Any], *, by: str, take: str
    ) -> Iterator[bool]:
        held = bool(_value(connection, f"SELECT pg_catalog.pg_try_{take}(%s, %s)", self.keys))
        try:
            # Locks are those of a database; others may be connected to another one. Who asks the
            # same question there holds the lock the other way: each would give way to the other.
            keys = (self.kind, int(self.name[:8], 16))
            yield held and not _value(connection, _HELD, (*keys, by))
        finally:
            if held:
                self._unlock(connection, take)

    def _unlock(self, connection: psycopg.Connection[Any], taken: str) -> None:
        if not connection.closed:
            kind = taken.replace("lock", "unlock")
            connection.execute(f"SELECT pg_catalog.pg_{kind}(%s, %s)".encode(), self.keys)


def keep(berth: PluginState, server: Server) -> psycopg.Connection[Any]:
    """Return the session that says that this worker lives, opened when first needed."""
    sessions = berth.stash.setdefault(_SESSIONS, {})
    if server.key not in sessions:
        connection = session(server)
        Lock(RUN, berth.run.id).share(connection)
        sessions[server.key] = connection
        berth.at_end.callback(_end, connection)
    return sessions[server.key]


def _end(connection: psycopg.Connection[Any]) -> None:
    """Let go of all locks, and close the session.

    The server notices a closed session a moment later: of two runs that end at once, each would
    take the other for one that still uses the template.
    """
    import psycopg

    with ignoring(psycopg.Error, why="the server is gone, and the locks with it"):
        connection.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
    connection.close()


def session(server: Server) -> psycopg.Connection[Any]:
    """Open a session that waits as long as it must, and that nothing ends while it is idle."""
    connection = connections.connect(server, server.credentials.database, **_KEEP_ALIVE)
    for name in ("statement_timeout", "lock_timeout", "idle_session_timeout"):
        # Not every version knows the last one.
        known = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings"
        connection.execute(f"{known} WHERE name = %s", [name])
    return connection


def _value(connection: psycopg.Connection[Any], query: str, parameters: Any = ()) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    return row[0] if row else None
