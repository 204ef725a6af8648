"""Reads, in one round trip, all that a restore has to know: what has changed."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.debug_log import debug
from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.restore import (
    changed_rows,
    ddl_trigger,
    open_transactions,
    schema_fingerprint,
)
from pytest_berth.services.postgres.restore.baseline import look, untracked_sequences
from pytest_berth.services.postgres.restore.contents import read_sequences
from pytest_berth.services.postgres.restore.errors import SchemaChanged
from pytest_berth.services.postgres.restore.lock_waits import BlockedError, waiting_on
from pytest_berth.services.postgres.restore.log_positions import Snapshot
from pytest_berth.services.postgres.restore.transactions import results, row, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_berth.services.postgres.restore.baseline import Baseline, Entries
    from pytest_berth.services.postgres.restore.changed_rows import Difference
    from pytest_berth.services.postgres.restore.transactions import Connection, Row


# Asking for each of many takes longer than counting.
_MOST = 100
_UNACCOUNTED_FOR = """
SELECT EXISTS (
    SELECT FROM unnest({ended}::xid8[]) AS ended (transaction)
    WHERE pg_catalog.pg_xact_status(transaction) = 'committed'
    AND transaction::xid NOT IN ({writers})
)
"""


@dataclass(frozen=True)
class Reading:
    """A database whose schema is the baseline's.

    Attributes:
        snapshot: From before everything else was read.
        sentinel: What changes by commands that are not noted.
        entries: How many rows the catalogs have.
        difference: What differs from the baseline.
    """

    snapshot: Snapshot
    sentinel: tuple[str, ...]
    entries: Entries
    difference: Difference


def confirm(connection: Connection, baseline: Baseline, *, lock_timeout: float) -> Baseline | None:
    """Return the baseline if the database still holds it, with a new position; else None.

    Nothing is put back. What others do on the server makes ``changed`` give false alarms, and
    capturing a baseline anew takes longer than looking.
    """
    signs = look(connection, baseline)
    if not signs.changed:
        return baseline
    try:
        with reading(connection, baseline, lock_timeout=lock_timeout) as found:
            if signs.writers or found.difference:
                return None
            states = read_sequences(connection, baseline.relations.sequences)
            if {oid: state.value for oid, state in states.items()} != baseline.sequences:
                return None
    except (SchemaChanged, BlockedError, psycopg.errors.LockNotAvailable) as error:
        debug("postgres: the baseline does not hold: %s: %s", type(error).__name__, error)
        return None
    return replace(
        baseline,
        untracked_sequences=untracked_sequences(
            baseline.relations.sequences, states, baseline.open_before
        ),
        sentinel=found.sentinel,
        entries=found.entries,
        position=baseline.position.advanced(found.snapshot, None),
    )


@contextmanager
def reading(
    connection: Connection, baseline: Baseline, *, lock_timeout: float
) -> Iterator[Reading]:
    """Begin a transaction by comparing the database with its baseline.

    Raises:
        SchemaChanged: The schema is another one.
        BlockedError: Others hold locks that exclude reading.
    """
    of_schema = _schema_statements(baseline)
    first = [*of_schema, *changed_rows.statements(baseline)]
    relations = baseline.relations
    everything = (*relations.tables, *relations.views, *relations.sequences)
    begin = partial(transaction, connection, lock_timeout=lock_timeout)
    with ExitStack() as stack:
        try:
            with waiting_on(everything, open_transactions.BLOCK_READING):
                found = stack.enter_context(begin(first=first))
        except (BlockedError, IsolationError, psycopg.Error):
            # Statements that were made for one schema cannot be run in another.
            try:
                with (
                    waiting_on(everything, open_transactions.BLOCK_READING),
                    begin(first=of_schema) as seen,
                ):
                    _require_schema(connection, baseline, seen, trusted=False)
            except psycopg.errors.UndefinedTable as error:
                # The notes and the copies are gone: there is nothing left to compare with.
                raise SchemaChanged(["schema information_schema was emptied"]) from error
            raise
        entries = baseline.entries
        snapshot, sentinel = _require_schema(connection, baseline, found[: len(of_schema)])
        with waiting_on(everything, open_transactions.BLOCK_READING):
            differing = changed_rows.find(connection, baseline, found[len(of_schema) :])
        if baseline.watched and not _all_accounted_for(connection, baseline, snapshot, differing):
            entries = _require_entries(connection, baseline)
        yield Reading(snapshot, sentinel, entries, differing)


def _schema_statements(baseline: Baseline) -> list[str]:
    """Return the statements for what tells of the schema; the snapshot comes first."""
    run = baseline.prepared.run
    return [run("snapshot"), run("sentinel"), *([run("noted")] if baseline.watched else ())]


def _require_schema(
    connection: Connection,
    baseline: Baseline,
    found: Sequence[list[Row]],
    *,
    trusted: bool = True,
) -> tuple[Snapshot, tuple[str, ...]]:
    """Refuse a changed schema; return the snapshot of that moment, and the sentinel.

    Unless notes and sentinel are *trusted*, the catalogs are compared in any case.
    """
    ((now,),), ((seen,),), *watched = found
    noted, sentinel = watched[0][0][0] if watched else (), tuple(seen)
    if noted or sentinel != baseline.sentinel or not (watched and trusted):
        differences = [
            *ddl_trigger.named(baseline.sentinel, sentinel),
            *schema_fingerprint.differences(connection, baseline.fingerprint),
            *(_of_system(connection, baseline) if watched else ()),
        ]
        if differences:
            raise SchemaChanged(differences)
        ddl_trigger.forget(connection, noted)
    return Snapshot.parse(now), sentinel


def _require_entries(connection: Connection, baseline: Baseline) -> Entries:
    """Refuse a schema that was changed by what is not noted; return how many rows it has."""
    counted = baseline.prepared.run("catalog", *baseline.position.arguments)
    (((users, changed),),) = results(connection, [counted])
    if changed or users != baseline.entries.users:
        differences = [
            *schema_fingerprint.differences(connection, baseline.fingerprint),
            *_of_system(connection, baseline),
        ]
        if differences:
            raise SchemaChanged(differences)
    return replace(baseline.entries, users=users)


def _of_system(connection: Connection, baseline: Baseline) -> list[str]:
    """Tell which catalogs have other rows of the system's own objects than they had."""
    counted = baseline.prepared.run("system", *baseline.position.arguments)
    (((entries, changed, names),),) = results(connection, [counted])
    if changed:
        return [f"an object of the system in {name} was altered" for name in names]
    return [] if entries == baseline.entries.system else ["an object of the system was dropped"]


def _all_accounted_for(
    connection: Connection, baseline: Baseline, now: Snapshot, difference: Difference
) -> bool:
    """Tell whether all transactions that were committed since the position have written rows.

    Commands that no event trigger is told of (a CREATE INDEX CONCURRENTLY that fails, CLUSTER, all
    of them under ``event_triggers = off``) write to the catalogs in transactions of their own.
    Counting the rows of all catalogs takes as long as the rest of a restore, and is spared where
    every transaction that was committed is known by a row that it has written to a table.

    Args:
        connection: In the transaction of the restore.
        baseline: What the database should hold.
        now: The snapshot that this transaction began with.
        difference: The tables with other rows.
    """
    position = baseline.position
    ended = (position.snapshot.running | set(range(position.snapshot.xmax, now.xmax))) - now.running
    ended -= position.own
    if not ended:
        return True
    if len(ended) > _MOST or not difference.tables:
        return False
    newer = position.is_newer()
    writers = sql.SQL(" UNION ").join(
        sql.SQL("SELECT xmin FROM ONLY {} WHERE {}").format(table.identifier, newer)
        for table in difference.tables
    )
    query = sql.SQL(_UNACCOUNTED_FOR).format(
        ended=sql.Literal([str(xid) for xid in sorted(ended)]), writers=writers
    )
    return not row(connection, query)[0]
