"""The end of transactions that outlived the test: of those that write, or stand in the way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.restore.baseline import ENDING
from pytest_berth.services.postgres.restore.write_back.terminate_backends import end
from pytest_berth.services.postgres.restore_errors import LeftOpen
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_berth.services.postgres.restore.application_connections import Application
    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.lock_waits import BlockedError
    from pytest_berth.services.postgres.restore.open_transactions import OpenTransaction
    from pytest_berth.services.postgres.restore.transactions import Connection


def _younger(connection: Connection, baseline: Baseline) -> list[OpenTransaction]:
    return [
        holder
        for holder in open_transactions.open_transactions(connection)
        if holder.transaction not in baseline.open_before
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
    before = baseline.open_before | {h.transaction for h in found if h.pid in wider}
    keep = [h for h in found if h.transaction in before and wider.get(h.pid, True)]
    used = frozenset(lock.oid for holder in keep for lock in holder.locks)
    return replace(baseline, open_before=before, used=used)


def roll_back_prepared(connection: Connection, baseline: Baseline) -> tuple[str, ...]:
    """Roll back what the test has prepared; return the names."""
    prepared = [holder for holder in _younger(connection, baseline) if holder.gid]
    for holder in prepared:
        end(connection, holder)
    return tuple(holder.gid for holder in prepared)


def end_writers(
    connection: Connection,
    baseline: Baseline,
    lock_timeout: float,
    application: Application | None,
) -> list[OpenTransaction]:
    """End what still writes after the timeout; return what was ended."""

    def writers() -> list[OpenTransaction]:
        return [holder for holder in _younger(connection, baseline) if holder.wrote]

    if _comes_true(lambda: not writers(), lock_timeout):
        return []
    return _end_all(connection, writers(), application)


def blockers(connection: Connection, blocked: BlockedError) -> list[OpenTransaction]:
    """Return the transactions that stand in the way."""
    found = open_transactions.open_transactions(connection)
    return [holder for holder in found if holder.blocks(blocked.oids, blocked.modes)]


def end_blockers(
    connection: Connection,
    baseline: Baseline,
    blocked: BlockedError,
    application: Application | None,
) -> list[OpenTransaction]:
    """End what stands in the way, and is not of a wider scope; return what was ended."""
    before = baseline.open_before
    found = [h for h in blockers(connection, blocked) if h.transaction not in before]
    return _end_all(connection, found, application)


def _end_all(
    connection: Connection, found: list[OpenTransaction], application: Application | None
) -> list[OpenTransaction]:
    if application:
        found = [replace(holder, place=application.place(holder)) for holder in found]
    for holder in found:
        _end(connection, holder, application)
    ended = {holder.transaction for holder in found}

    def gone() -> bool:
        return ended.isdisjoint(
            h.transaction for h in open_transactions.open_transactions(connection)
        )

    if not _comes_true(gone, ENDING):
        raise LeftOpen(found, None)
    return found


def _end(connection: Connection, holder: OpenTransaction, application: Application | None) -> None:
    if application and application.roll_back(holder, connection.info.dbname):
        return
    try:
        end(connection, holder)
    except psycopg.errors.InsufficientPrivilege as error:
        raise IsolationError(
            "A transaction outlived the test, and the role may not end it.",
            why=str(holder),
            remedy="close or commit the connection before the test ends; "
            "or GRANT pg_signal_backend to the role in the URL;"
            f" or give the test a private database: {PRIVATE}",
        ) from error
    if application:
        application.lost(holder)


def _comes_true(condition: Callable[[], bool], timeout: float) -> bool:
    try:
        return wait_for(condition, timeout)
    except TimeoutError:
        return False
