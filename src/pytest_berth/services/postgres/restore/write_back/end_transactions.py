"""Ends transactions that outlived the test: those that write, or stand in the way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.restore.baseline import ENDING
from pytest_berth.services.postgres.restore.open_transactions import LeftOpen
from pytest_berth.services.postgres.restore.transactions import Connection, rows
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_berth.services.postgres.application_connections import Application
    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.lock_waits import BlockedError
    from pytest_berth.services.postgres.restore.open_transactions import OpenTransaction


def _younger(connection: Connection, baseline: Baseline) -> list[OpenTransaction]:
    return [
        opened
        for opened in open_transactions.open_transactions(connection)
        if opened.transaction not in baseline.open_before
    ]


def with_wider(
    connection: Connection, baseline: Baseline, application: Application | None
) -> Baseline:
    """Leave out of a restore what belongs to transactions of a wider scope.

    They may have begun in the test. The sequences that they have used stay where they are: a
    value that was given to a row of theirs, which nobody else sees, must not be given away again.
    """
    found = open_transactions.open_transactions(connection)
    wider = application.wider if application else {}
    before = baseline.open_before | {each.transaction for each in found if each.pid in wider}
    keep = [
        opened for opened in found if opened.transaction in before and wider.get(opened.pid, True)
    ]
    used = frozenset(lock.oid for opened in keep for lock in opened.locks)
    return replace(baseline, open_before=before, used=used)


def roll_back_prepared(connection: Connection, baseline: Baseline) -> tuple[str, ...]:
    """Roll back what the test has prepared; return the names."""
    prepared = [opened for opened in _younger(connection, baseline) if opened.gid]
    for opened in prepared:
        _end_at_server(connection, opened)
    return tuple(opened.gid for opened in prepared)


def end_writers(
    connection: Connection,
    baseline: Baseline,
    lock_timeout: float,
    application: Application | None,
) -> list[OpenTransaction]:
    """End what still writes after the timeout; return what was ended."""

    def writers() -> list[OpenTransaction]:
        younger = _younger(connection, baseline)
        return [opened for opened in younger if opened.wrote or opened.is_writing]

    if _comes_true(lambda: not writers(), lock_timeout):
        return []
    return _end_all(connection, writers(), application)


def blockers(connection: Connection, blocked: BlockedError) -> list[OpenTransaction]:
    """Return the transactions that stand in the way."""
    found = open_transactions.open_transactions(connection)
    return [opened for opened in found if opened.blocks(blocked.oids, blocked.modes)]


def end_blockers(
    connection: Connection,
    baseline: Baseline,
    blocked: BlockedError,
    application: Application | None,
) -> list[OpenTransaction]:
    """End what stands in the way, and is not of a wider scope; return what was ended."""
    before = baseline.open_before
    found = [opened for opened in blockers(connection, blocked) if opened.transaction not in before]
    return _end_all(connection, found, application)


def _end_all(
    connection: Connection, found: list[OpenTransaction], application: Application | None
) -> list[OpenTransaction]:
    if application:
        found = [replace(opened, place=application.place(opened)) for opened in found]
    for opened in found:
        _end(connection, opened, application)
    ended = {opened.transaction for opened in found}

    def gone() -> bool:
        return ended.isdisjoint(
            opened.transaction for opened in open_transactions.open_transactions(connection)
        )

    if not _comes_true(gone, ENDING):
        raise LeftOpen(found, None)
    return found


def _end(connection: Connection, opened: OpenTransaction, application: Application | None) -> None:
    if application and application.roll_back(opened, connection.info.dbname):
        return
    try:
        _end_at_server(connection, opened)
    except psycopg.errors.InsufficientPrivilege as error:
        raise IsolationError(
            "A transaction outlived the test, and the role may not end it.",
            why=str(opened),
            remedy="close or commit the connection before the test ends; "
            "or GRANT pg_signal_backend to the role in the URL;"
            f" or give the test a private database: {PRIVATE}",
        ) from error
    if application:
        application.lost(opened)


def _end_at_server(connection: Connection, opened: OpenTransaction) -> None:
    """End another's transaction: roll a prepared one back, end the backend of any other."""
    if opened.gid:
        statement = sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(opened.gid))
        with ignoring(psycopg.errors.UndefinedObject, why=f"{opened.gid} has ended meanwhile"):
            connection.execute(statement)
    else:
        # By transaction, not by pid alone: the backend may have gone on to another one.
        rows(
            connection,
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks "
            "WHERE locktype = 'virtualxid' AND virtualtransaction = %s AND pid = %s",
            opened.transaction,
            opened.pid,
        )


def _comes_true(condition: Callable[[], bool], timeout: float) -> bool:
    try:
        return wait_for(condition, timeout)
    except TimeoutError as error:
        debug("postgres: %s", error)
        return False
