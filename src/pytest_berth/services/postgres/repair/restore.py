"""The way back to a baseline: look, end what was left open, put back, take the new mark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.repair import bloat, ddl, dirt, fingerprint, holders
from pytest_berth.services.postgres.repair.baseline import Baseline, look, restless
from pytest_berth.services.postgres.repair.blocking import BlockedError, waiting_on
from pytest_berth.services.postgres.repair.contents import read_sequences
from pytest_berth.services.postgres.repair.failures import (
    BaselineLost,
    LeftOpen,
    NotRepairable,
    SchemaChanged,
)
from pytest_berth.services.postgres.repair.marks import Snapshot
from pytest_berth.services.postgres.repair.repair import Repair, end
from pytest_berth.services.postgres.repair.session import Connection, results, transaction
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_berth.services.postgres.repair.application import Application
    from pytest_berth.services.postgres.repair.holders import Holder

# A backend that was told to end needs a moment to roll back.
ENDING = 10.0


@dataclass(frozen=True)
class Restored:
    """What a restore touched, and the baseline to use from now on."""

    baseline: Baseline
    tables: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    large_objects: tuple[int, ...] = ()
    prepared: tuple[str, ...] = ()


def restore(
    connection: Connection,
    baseline: Baseline,
    *,
    lock_timeout: float,
    application: Application | None = None,
) -> Restored:
    """Put everything back as it was when *baseline* was captured.

    Args:
        connection: The one that the baseline was captured on: it keeps the copies.
        baseline: What ``capture`` or the last ``restore`` returned.
        lock_timeout: Seconds to wait for each lock, and for transactions left open.
        application: What knows the connections of this process, where anything does.

    Raises:
        LeftOpen: Transactions outlived the test; its ``restored`` tells whether the database
            is clean again.
        SchemaChanged: Nothing was put back; the database has to be replaced.
        NotRepairable: The same, for another reason.
        IsolationError: The role may not do what is needed.
    """
    try:
        signs = look(connection, baseline)
        if not signs.changed:
            return Restored(baseline)
        prepared: tuple[str, ...] = ()
        left: list[Holder] = []
        if signs.writers:
            prepared = _roll_back_prepared(connection, baseline)
            left = _end_writers(connection, baseline, lock_timeout, application)
        return _put_back(connection, baseline, lock_timeout, prepared, left, application)
    except psycopg.OperationalError as error:
        if connection.closed or connection.broken:
            raise BaselineLost(error) from error
        raise


def confirm(connection: Connection, baseline: Baseline, *, lock_timeout: float) -> Baseline | None:
    """Return the baseline if the database still holds it, with a new mark; else None.

    Nothing is put back. What others do on the server makes ``changed`` give false alarms, and
    capturing a baseline anew takes longer than looking.
    """
    signs = look(connection, baseline)
    if not signs.changed:
        return baseline
    try:
        with transaction(connection, lock_timeout=lock_timeout):
            snapshot, sentinel = _require_schema(connection, baseline)
            if signs.writers or dirt.find(connection, baseline):
                return None
            standing = read_sequences(connection, baseline.relations.sequences)
            if {oid: found.value for oid, found in standing.items()} != baseline.sequences:
                return None
    except (SchemaChanged, psycopg.errors.LockNotAvailable):
        return None
    return replace(
        baseline,
        restless=restless(baseline.relations.sequences, standing, baseline.open_before),
        sentinel=sentinel,
        mark=baseline.mark.renewed(snapshot, None),
    )


def _put_back(
    connection: Connection,
    baseline: Baseline,
    lock_timeout: float,
    prepared: tuple[str, ...],
    left: list[Holder],
    application: Application | None,
) -> Restored:
    try:
        try:
            restored = _repair(connection, baseline, lock_timeout)
        except BlockedError as blocked:
            left += _end_blockers(connection, baseline, blocked, application)
            restored = _repair(connection, baseline, lock_timeout)
    except BlockedError as blocked:
        raise LeftOpen([*left, *_blockers(connection, blocked)], None) from blocked
    except NotRepairable as error:
        if left:
            raise LeftOpen(left, None) from error
        raise
    restored = replace(restored, prepared=prepared)
    if left:
        raise LeftOpen(left, restored)
    return restored


def _repair(connection: Connection, baseline: Baseline, lock_timeout: float) -> Restored:
    relations, open_before = baseline.relations, baseline.open_before
    with transaction(connection, lock_timeout=lock_timeout):
        everything = (*relations.tables, *relations.views, *relations.sequences)
        with waiting_on(everything, holders.BLOCK_READING):
            snapshot, sentinel = _require_schema(connection, baseline)
            found = dirt.find(connection, baseline)
        repair = Repair(connection, baseline)
        with waiting_on(everything, holders.BLOCK_EXCLUSIVE):
            if found:
                repair.apply(found)
            finished = repair.finish(found.tables)
    renewed = replace(
        baseline,
        storage=finished.storage,
        restless=tuple(s for s in relations.sequences if s.unlogged or open_before),
        sentinel=sentinel,
        mark=baseline.mark.renewed(snapshot, finished.xid),
    )
    return Restored(
        bloat.remove(connection, renewed, found.tables, finished.sizes),
        tuple(map(str, found.tables)),
        tuple(map(str, found.views)),
        tuple(map(str, finished.moved)),
        (*found.added_objects, *found.altered_objects),
    )


def _require_schema(connection: Connection, baseline: Baseline) -> tuple[Snapshot, tuple[str, ...]]:
    """Refuse a changed schema; return the snapshot of that moment, and the sentinel."""
    run = baseline.prepared.run
    if not baseline.watched:
        snapshot = Snapshot.now(connection)
        _require_fingerprint(connection, baseline)
        return snapshot, ()
    names = ("snapshot", "noted", "sentinel")
    ((now,),), ((noted,),), ((seen,),) = results(connection, map(run, names))
    if noted or tuple(seen) != baseline.sentinel:
        _require_fingerprint(connection, baseline)
        ddl.forget(connection, noted)
    return Snapshot.parse(now), tuple(seen)


def _require_fingerprint(connection: Connection, baseline: Baseline) -> None:
    differences = fingerprint.differences(connection, baseline.fingerprint)
    if differences:
        raise SchemaChanged(differences)


def _younger(connection: Connection, baseline: Baseline) -> list[Holder]:
    return [
        holder
        for holder in holders.open_transactions(connection)
        if holder.transaction not in baseline.open_before
    ]


def _roll_back_prepared(connection: Connection, baseline: Baseline) -> tuple[str, ...]:
    prepared = [holder for holder in _younger(connection, baseline) if holder.gid]
    for holder in prepared:
        end(connection, holder)
    return tuple(holder.gid for holder in prepared)


def _end_writers(
    connection: Connection,
    baseline: Baseline,
    lock_timeout: float,
    application: Application | None,
) -> list[Holder]:
    def writers() -> list[Holder]:
        return [holder for holder in _younger(connection, baseline) if holder.wrote]

    if _comes_true(lambda: not writers(), lock_timeout):
        return []
    return _end_all(connection, writers(), application)


def _blockers(connection: Connection, blocked: BlockedError) -> list[Holder]:
    found = holders.open_transactions(connection)
    return [holder for holder in found if holder.blocks(blocked.oids, blocked.modes)]


def _end_blockers(
    connection: Connection,
    baseline: Baseline,
    blocked: BlockedError,
    application: Application | None,
) -> list[Holder]:
    before = baseline.open_before
    found = [h for h in _blockers(connection, blocked) if h.transaction not in before]
    return _end_all(connection, found, application)


def _end_all(
    connection: Connection, found: list[Holder], application: Application | None
) -> list[Holder]:
    if application:
        found = [replace(holder, place=application.place(holder)) for holder in found]
    for holder in found:
        _end(connection, holder, application)
    ended = {holder.transaction for holder in found}

    def gone() -> bool:
        return ended.isdisjoint(h.transaction for h in holders.open_transactions(connection))

    if not _comes_true(gone, ENDING):
        raise LeftOpen(found, None)
    return found


def _end(connection: Connection, holder: Holder, application: Application | None) -> None:
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
