"""Captures what a database holds: reads it, and copies what has to be put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.services.postgres.restore import (
    catalog,
    ddl_trigger,
    large_objects,
    open_transactions,
    prepared_statements,
    schema_fingerprint,
)
from pytest_berth.services.postgres.restore.baseline import (
    Baseline,
    Entries,
    RowCopy,
    untracked_sequences,
)
from pytest_berth.services.postgres.restore.contents import read_sequences, storage_of, with_rows
from pytest_berth.services.postgres.restore.log_positions import LogPosition, Snapshot
from pytest_berth.services.postgres.restore.open_transactions import LeftOpen
from pytest_berth.services.postgres.restore.transactions import (
    Connection,
    results,
    row,
    settle,
    transaction,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_berth.services.postgres.restore.catalog import Relation, Relations
    from pytest_berth.services.postgres.restore.prepared_statements import Prepared


def capture(
    connection: Connection,
    *,
    lock_timeout: float,
    watch: bool = False,
    known: Baseline | None = None,
) -> Baseline:
    """Remember everything that the database holds.

    Args:
        connection: In autocommit mode, kept open; it keeps the copies in temporary tables.
        lock_timeout: Seconds to wait for each lock.
        watch: Whether the database may get an event trigger, which makes restores faster.
        known: What it held before: where the schema is still the same, it is not read again.

    Raises:
        LeftOpen: Others hold locks that exclude reading.
        IsolationError: The role may not do what is needed.
    """
    try:
        return _capture(connection, lock_timeout, known, watch=watch)
    except psycopg.errors.LockNotAvailable as error:
        found = open_transactions.open_transactions(connection)
        raise LeftOpen([opened for opened in found if opened.locks], None) from error


def release(connection: Connection, baseline: Baseline, used: Iterable[Baseline] = ()) -> None:
    """Drop the copies of a baseline that is no longer needed.

    Args:
        connection: The one that keeps them.
        baseline: What is no longer needed.
        used: What is still needed: they may share the copy of the catalog.
    """
    prepared_statements.deallocate(connection, baseline.prepared)
    copies = [each.copy for each in baseline.copies.values()]
    copies += [baseline.object_copies, baseline.fingerprint.table]
    shared = [each.fingerprint.table for each in used]
    dropped = [copy for copy in copies if copy not in shared]
    statements = []
    if not baseline.stored:
        statements.append(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(", ").join(dropped)))
    if baseline.on_server:
        name = sql.SQL(baseline.on_server.name)
        statements.append(sql.SQL("DROP FUNCTION IF EXISTS {}").format(name))
    if statements:
        connection.execute(sql.SQL("; ").join(statements), prepare=False)


def _capture(
    connection: Connection, lock_timeout: float, known: Baseline | None, *, watch: bool
) -> Baseline:
    replica = settle(connection)
    watched = watch and ddl_trigger.install(connection)
    # A transaction that is older than the event trigger does not fire it.
    watched = watched and not open_transactions.open_transactions(connection)
    with transaction(connection, lock_timeout=lock_timeout, isolation="REPEATABLE READ"):
        position = LogPosition(Snapshot.now(connection))
        open_before = frozenset(
            h.transaction for h in open_transactions.open_transactions(connection)
        )
        same = known if known and watched and _has_schema_of(connection, known) else None
        relations = same.relations if same else catalog.read(connection, replica=replica)
        states = read_sequences(connection, relations.sequences)
        own, prefix = row(
            connection,
            "SELECT xid, 'berth_' || xid "
            "FROM pg_catalog.text(pg_catalog.pg_current_xact_id()) AS xid",
        )
        kept_catalog = sql.Identifier("pg_temp", f"{prefix}_catalog")
        found = same.fingerprint if same else schema_fingerprint.take(connection, kept_catalog)
        kept = keep(connection, relations, lambda oid: sql.Identifier("pg_temp", f"{prefix}_{oid}"))
        statements = prepared_statements.prepare(
            connection,
            prefix,
            relations,
            kept,
            {oid: state.value for oid, state in states.items()},
            open_before,
            found,
            watched=watched,
        )
        object_copies = sql.Identifier("pg_temp", f"{prefix}_objects")
        oids = ",".join(str(oid) for oid in kept)
        storage, sizes = results(
            connection, [statements.run("storage"), statements.run("sizes", f"'{{{oids}}}'")]
        )
        position = position.advanced(position.snapshot, int(own))
        return Baseline(
            relations=relations,
            fingerprint=found,
            copies=kept,
            storage=storage_of(storage),
            sequences={oid: state.value for oid, state in states.items()},
            untracked_sequences=untracked_sequences(relations.sequences, states, open_before),
            sizes=dict(sizes),
            large_objects=large_objects.keep(connection, object_copies),
            object_copies=object_copies,
            open_before=open_before,
            replica=replica,
            watched=watched,
            sentinel=_sentinel(connection, statements, watched=watched),
            entries=entries(connection, statements, position) if watched else Entries(),
            prepared=statements,
            position=position,
        )


def _has_schema_of(connection: Connection, known: Baseline) -> bool:
    run, position = known.prepared.run, known.position.arguments
    statements = [run("noted"), run("sentinel"), run("catalog", *position)]
    ((noted,),), ((seen,),), ((found, changed),) = results(connection, statements)
    return (
        not noted and tuple(seen) == known.sentinel and (found, changed) == (known.entries.users, 0)
    )


def keep(
    connection: Connection, relations: Relations, copy: Callable[[int], sql.Identifier]
) -> dict[int, RowCopy]:
    """Copy what tables and materialized views hold; *copy* names each copy by the id."""
    filled = with_rows(connection, relations.tables)
    readable = [view for view in relations.views if _is_populated(connection, view)]
    return {r.oid: _keep(connection, r, copy(r.oid)) for r in (*filled, *readable)}


def _keep(connection: Connection, relation: Relation, copy: sql.Identifier) -> RowCopy:
    cursor = connection.execute(
        sql.SQL("CREATE TABLE {} AS SELECT {} FROM ONLY {} ORDER BY ctid").format(
            copy, relation.column_list, relation.identifier
        )
    )
    return RowCopy(copy, cursor.rowcount)


def _is_populated(connection: Connection, view: Relation) -> bool:
    query = "SELECT relispopulated FROM pg_catalog.pg_class WHERE oid = %s"
    return bool(row(connection, query, view.oid)[0])


def _sentinel(connection: Connection, statements: Prepared, *, watched: bool) -> tuple[str, ...]:
    """Begin to watch: what has been noted is part of the baseline."""
    if watched:
        ((noted,),) = results(connection, [statements.run("noted")])[0]
        ddl_trigger.forget(connection, noted)
    ((sentinel,),) = results(connection, [statements.run("sentinel")])[0]
    return tuple(sentinel)


def entries(connection: Connection, statements: Prepared, position: LogPosition) -> Entries:
    """Count the rows of the catalogs."""
    signs = [statements.run(name, *position.arguments) for name in ("catalog", "system")]
    (users, *_), (system, *_) = (found[0] for found in results(connection, signs))
    return Entries(users, system)
