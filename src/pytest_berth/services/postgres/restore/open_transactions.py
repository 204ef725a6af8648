"""Lists transactions that are left open, with what they have locked; the error that tells them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.restore.errors import listing
from pytest_berth.services.postgres.restore.log_positions import MAY_WRITE
from pytest_berth.services.postgres.restore.transactions import Connection, rows

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_berth.services.postgres.restore.baseline import Restored

# The modes of others that stand in the way of a statement (PostgreSQL's manual, 13.3).
BLOCK_READING = frozenset({"AccessExclusiveLock"})
BLOCK_EXCLUSIVE = frozenset(
    {
        "AccessShareLock",
        "RowShareLock",
        "RowExclusiveLock",
        "ShareUpdateExclusiveLock",
        "ShareLock",
        "ShareRowExclusiveLock",
        "ExclusiveLock",
        "AccessExclusiveLock",
    }
)
# Row locks show as RowShare and RowExclusive locks of their table.
BLOCK_WRITING = BLOCK_EXCLUSIVE - {"AccessShareLock"}

SENSITIVE = re.compile(r"pass|pwd|secret|token|credential|identified|options", re.IGNORECASE)
STATEMENT_LENGTH = 300


@dataclass(frozen=True)
class Lock:
    """A granted lock of a relation."""

    oid: int
    relation: str
    mode: str


@dataclass(frozen=True)
class OpenTransaction:
    """An open transaction of another backend, or a prepared one (then *gid* is set).

    Attributes:
        transaction: The virtual transaction id: unique while the server runs.
        age: Seconds since the transaction began.
        wrote: Whether it has written.
        is_writing: Whether a statement that may write is being carried out.
        place: The file and line of this process that its connection was taken at, if known.
    """

    pid: int
    transaction: str
    application: str
    state: str
    age: float
    statement: str
    wrote: bool
    is_writing: bool
    locks: tuple[Lock, ...]
    gid: str = ""
    place: str = ""

    @property
    def tables(self) -> tuple[str, ...]:
        """The locked relations, each once."""
        return tuple(sorted({lock.relation for lock in self.locks}))

    def blocks(self, oids: Collection[int], modes: Collection[str]) -> bool:
        """Tell whether a lock stands in the way of a statement on the relations *oids*."""
        return any(lock.oid in oids and lock.mode in modes for lock in self.locks)

    def __str__(self) -> str:
        who = f"prepared transaction {self.gid!r}" if self.gid else f"pid {self.pid}"
        locked = ", ".join(self.tables) or "none"
        opened = f"; opened at {self.place}" if self.place else ""
        said = f"; statement: {redacted(self.statement)}" if self.statement else ""
        return (
            f"{who}, application {self.application!r}, {self.state} for {self.age:.1f} s, "
            f"locked tables: {locked}{said}{opened}"
        )


OPEN = f"""
WITH held AS MATERIALIZED (SELECT * FROM pg_catalog.pg_locks WHERE granted), locked AS (
    SELECT l.virtualtransaction AS vxid,
        array_agg(ARRAY[l.relation::text, format('%I.%I', n.nspname, c.relname), l.mode]) AS locks
    FROM held l
    JOIN pg_catalog.pg_class c ON c.oid = l.relation
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE l.locktype = 'relation' AND l.database = (
        SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()
    ) AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND c.relkind NOT IN ('i', 'I')
    AND (n.nspname, c.relname) <> ('information_schema', 'berth_ddl')
    GROUP BY 1
)
SELECT a.pid, v.virtualtransaction, a.application_name, a.state,
    extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
    a.query, a.backend_xid IS NOT NULL, coalesce({MAY_WRITE}, false), locked.locks, ''
FROM pg_catalog.pg_stat_activity a
JOIN held v ON v.pid = a.pid AND v.locktype = 'virtualxid' AND v.virtualxid = v.virtualtransaction
LEFT JOIN locked ON locked.vxid = v.virtualtransaction
WHERE a.datname = current_database() AND a.pid <> pg_catalog.pg_backend_pid()
AND coalesce(a.backend_type, 'client backend') = 'client backend'
UNION ALL
SELECT 0, '-1/' || p.transaction, NULL, 'prepared',
    extract(epoch FROM clock_timestamp() - p.prepared)::float8, NULL, true, false, locked.locks,
    p.gid
FROM pg_catalog.pg_prepared_xacts p
LEFT JOIN held x ON x.pid IS NULL AND x.transactionid = p.transaction
LEFT JOIN locked ON locked.vxid = x.virtualtransaction
WHERE p.database = current_database()
"""


def open_transactions(connection: Connection) -> list[OpenTransaction]:
    """Return all transactions that others have open in this database."""
    return [
        OpenTransaction(
            pid,
            transaction,
            application or "",
            state or "state not visible to this role",
            age or 0.0,
            statement or "",
            wrote,
            is_writing,
            tuple(Lock(int(oid), relation, mode) for oid, relation, mode in locks or ()),
            gid,
        )
        for (
            pid,
            transaction,
            application,
            state,
            age,
            statement,
            wrote,
            is_writing,
            locks,
            gid,
        ) in rows(connection, OPEN)
    ]


def redacted(statement: str) -> str:
    """Return *statement* on one line, without what may be a password.

    Everything between the first and the last quote goes: where a literal ends depends on
    settings, and pg_stat_activity cuts long statements in the middle.
    """
    line = " ".join(statement.split())
    line = re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", line)
    if SENSITIVE.search(line):
        line = re.sub(r"['$].*", "'***'", line)
    return line if len(line) <= STATEMENT_LENGTH else line[: STATEMENT_LENGTH - 3] + "..."


class LeftOpen(IsolationError):  # noqa: N818 - it says what the transactions are
    """Transactions outlived the test.

    Attributes:
        transactions: The transactions, each with its backend and locked tables.
        restored: What was put back after they were ended; None when the database is not
            clean, because they belong to a wider scope or could not be ended.
    """

    def __init__(self, transactions: Sequence[OpenTransaction], restored: Restored | None) -> None:
        ended = "and were ended" if restored else "and the database could not be put back"
        super().__init__(
            f"Transactions outlived the test {ended}.",
            why=listing([str(each) for each in transactions]) or "none is visible any more",
            remedy="close or commit the connection before the test ends; "
            "a transaction of a wider-scoped fixture must not lock what tests write;\n"
            f"or give the test a private database, where all connections are ended: {PRIVATE}",
        )
        self.transactions = tuple(transactions)
        self.restored = restored
