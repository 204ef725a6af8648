"""Tells what a test leaves open: transactions, who waits for whom, connections not returned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.debug_log import debug
from pytest_berth.services.postgres.failure import asking
from pytest_berth.services.postgres.failure.asking import NoAnswerError
from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.server.connections import APPLICATION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pytest

    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase
    from pytest_berth.services.postgres.failure.asking import Asking
    from pytest_berth.services.postgres.restore import OpenTransaction

_FIXTURES = frozenset({"pg_session", "pg_connection", "pg_databases", "pg_database"})
_READS = frozenset({"AccessShareLock"})
_WAITING = """
SELECT a.pid::text, a.application_name, a.query,
    round(extract(epoch FROM clock_timestamp() - a.query_start)::numeric, 1)::text,
    array_to_string(pg_catalog.pg_blocking_pids(a.pid), ' '),
    coalesce((
        SELECT l.locktype || CASE WHEN l.relation IS NULL THEN '' ELSE
            ' ' || l.relation::regclass::text END
        FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND NOT l.granted LIMIT 1
    ), '')
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'
"""
_BACKENDS = """
SELECT a.pid::text, a.application_name, a.state, a.query
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.pid = ANY ({pids}::int[])
"""
_ADVISORY = """
SELECT l.pid::text, string_agg(DISTINCT concat_ws(',', l.classid, l.objid), ' ')
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid AND a.datname = current_database()
WHERE l.locktype = 'advisory' AND l.granted AND a.application_name <> {application}
GROUP BY l.pid
"""


@dataclass(frozen=True)
class Waiting:
    """A backend that waits for a lock.

    Attributes:
        lock: What kind of lock, and of what.
        holders: Process ids of those that are in the way.
    """

    pid: int
    application: str
    statement: str
    seconds: str
    lock: str
    holders: tuple[int, ...]

    def line(self, outer: int) -> str:
        """Return what to tell; *outer* is the rolled-back test's own backend."""
        holders = " and ".join(
            f"pid {pid}" + (", the test's own connection" if pid == outer else "")
            for pid in self.holders
        )
        said = open_transactions.redacted(self.statement)
        return (
            f"pid {self.pid}, application {self.application!r}, waits {self.seconds} s for a lock"
            f" ({self.lock}) held by {holders or 'nobody any more'}; statement: {said}"
        )


def of(databases: Sequence[IsolatedDatabase], item: pytest.Item) -> list[str]:
    """Return lines on what is open in a worker's databases, berth's own connections left out.

    Args:
        databases: The worker's.
        item: The test.
    """
    used = not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
    found = []
    for database in databases:
        try:
            found += _open_in(database, database.fixture_backends if used else frozenset())
        except NoAnswerError as error:
            debug("what is left open cannot be told: %s", error)
    return found


def waiting(ask: Asking) -> list[Waiting]:
    """Return who waits for a lock in this database."""
    return [
        Waiting(
            int(pid or 0),
            application or "",
            statement or "",
            seconds or "",
            lock or "",
            tuple(map(int, (holders or "").split())),
        )
        for pid, application, statement, seconds, holders, lock in ask(_WAITING)
    ]


def transactions(
    database: IsolatedDatabase, connection: psycopg.Connection[object]
) -> list[OpenTransaction]:
    """Return the open transactions in a test's database, but for berth's own.

    Args:
        database: The worker's.
        connection: A new one to the database that the test works with.
    """
    own = database.own_backends
    return [
        replace(each, place=database.application.place(each))
        for each in open_transactions.open_transactions(connection)
        if each.pid not in own and each.application != APPLICATION
    ]


def _open_in(database: IsolatedDatabase, fixtures: frozenset[int]) -> list[str]:
    name = database.active.database
    with asking.connected(database.server, name) as connection, asking.on(connection) as ask:
        try:
            found = transactions(database, connection)
        except psycopg.Error as error:
            raise NoAnswerError(str(error)) from error
        waits, advisory = waiting(ask), dict(_advisory(ask))
        own = database.own_backends
        outer = database.rolled_back_backend
        holders = {pid for each in waits for pid in each.holders}
        waiters = {each.pid for each in waits}
        told = [
            each
            for each in found
            if each.pid not in waiters and _tells(database, each, holders, fixtures)
        ]
        not_returned = database.application.not_returned(name)
        idle = not_returned.keys() - {each.pid for each in found} - own - fixtures
        lines = [*_waiting_lines(waits, outer), *map(_transaction_line, told)]
        lines += _idle_lines(ask, {pid: not_returned[pid] for pid in sorted(idle)})
        return lines + [
            f"pid {pid} holds advisory locks: {locks}"
            for pid, locks in advisory.items()
            if pid not in own
        ]


def _tells(
    database: IsolatedDatabase,
    opened: OpenTransaction,
    holders: Collection[int],
    fixtures: Collection[int],
) -> bool:
    """Tell whether a transaction is worth a line: what fixtures merely read is not."""
    if opened.wrote or opened.gid or opened.pid in holders:
        return True
    if any(lock.mode not in _READS for lock in opened.locks):
        return True
    if opened.pid in fixtures:
        return False
    if opened.place:
        return True
    # What this process has is known by its place, unless it is a fixture's for asyncio.
    return opened.pid not in database.application.backends(database.active.database)


def _transaction_line(opened: OpenTransaction) -> str:
    return f"{opened}; it has written, and not committed" if opened.wrote else str(opened)


def _waiting_lines(waits: Sequence[Waiting], outer: int) -> list[str]:
    return [each.line(outer) for each in waits]


def _idle_lines(ask: Asking, places: Mapping[int, str]) -> Iterator[str]:
    if not places:
        return
    pids = sql.Literal(f"{{{','.join(map(str, places))}}}")
    for pid, application, state, query in ask(sql.SQL(_BACKENDS).format(pids=pids)):
        said = open_transactions.redacted(query or "")
        yield (
            f"pid {pid}, application {application!r}, {state}, was not returned to its pool;"
            f" last statement: {said}; opened at {places[int(pid or 0)]}"
        )


def _advisory(ask: Asking) -> Iterator[tuple[int, str]]:
    query = sql.SQL(_ADVISORY).format(application=sql.Literal(APPLICATION))
    return ((int(pid or 0), locks or "") for pid, locks in ask(query))
