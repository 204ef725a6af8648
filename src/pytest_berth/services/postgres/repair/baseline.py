"""What a database held when it was captured, and whether anything moved since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.services.postgres.repair import (
    catalog,
    ddl,
    fingerprint,
    holders,
    large_objects,
    prepared,
)
from pytest_berth.services.postgres.repair.contents import (
    Standing,
    Storage,
    read_sequences,
    storage_of,
    with_rows,
)
from pytest_berth.services.postgres.repair.failures import LeftOpen
from pytest_berth.services.postgres.repair.marks import Mark, Snapshot
from pytest_berth.services.postgres.repair.session import (
    Connection,
    results,
    row,
    settle,
    transaction,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_berth.services.postgres.repair.catalog import Relation, Relations
    from pytest_berth.services.postgres.repair.fingerprint import Fingerprint
    from pytest_berth.services.postgres.repair.large_objects import LargeObject
    from pytest_berth.services.postgres.repair.prepared import Prepared


@dataclass(frozen=True)
class Kept:
    """The copy of a table's or materialized view's rows, in a temporary table."""

    copy: sql.Identifier
    rows: int


@dataclass(frozen=True)
class Baseline:
    """Everything that a database held at an instant; its copies live as long as the connection.

    Attributes:
        kept: The copies of the tables and materialized views that held rows.
        storage: Of the relations with copies, and of all materialized views.
        sequences: ``last_value`` and ``is_called`` of each sequence.
        restless: The sequences that may move without a transaction id.
        sizes: Bytes, as far as known: of tables when captured, or vacuumed since.
        open_before: Transactions of a wider scope, prepared ones included: never ended.
        replica: Whether the role may switch foreign keys and triggers off.
        watched: Whether schema changes are noted; else the catalog is compared each time.
        sentinel: What changes by the commands that are not noted.
    """

    relations: Relations
    fingerprint: Fingerprint
    kept: Mapping[int, Kept]
    storage: Mapping[int, Storage]
    sequences: Mapping[int, tuple[int, bool]]
    restless: tuple[Relation, ...]
    sizes: Mapping[int, int]
    large_objects: Mapping[int, LargeObject]
    kept_objects: sql.Identifier
    open_before: frozenset[str]
    replica: bool
    watched: bool
    sentinel: tuple[str, ...]
    prepared: Prepared
    mark: Mark


def capture(connection: Connection, *, lock_timeout: float, watch: bool = False) -> Baseline:
    """Remember everything that the database holds.

    Args:
        connection: In autocommit mode, kept open; it keeps the copies in temporary tables.
        lock_timeout: Seconds to wait for each lock.
        watch: Whether the database may get an event trigger, which makes repairs faster.

    Raises:
        LeftOpen: Others hold locks that exclude reading.
        IsolationError: The role may not do what is needed.
    """
    try:
        return _capture(connection, lock_timeout, watch=watch)
    except psycopg.errors.LockNotAvailable as error:
        found = holders.open_transactions(connection)
        raise LeftOpen([holder for holder in found if holder.locks], None) from error


def release(connection: Connection, baseline: Baseline) -> None:
    """Drop the copies of a baseline that is no longer needed."""
    copies = [kept.copy for kept in baseline.kept.values()]
    copies += [baseline.kept_objects, baseline.fingerprint.kept]
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(", ").join(copies)))
    prepared.deallocate(connection, baseline.prepared)


@dataclass(frozen=True)
class Signs:
    """What one look says about a database.

    Attributes:
        changed: Something may have been written since the mark.
        writers: Transactions that have written may be open.
    """

    changed: bool
    writers: bool


def changed(connection: Connection, baseline: Baseline) -> bool:
    """Tell whether anything may have been written since the baseline was captured or restored.

    False alarms happen (other databases' transactions count too), misses do not.
    """
    return look(connection, baseline).changed


def look(connection: Connection, baseline: Baseline) -> Signs:
    """Look for signs of change, in one round trip."""
    run = baseline.prepared.run
    # First who is writing, then the snapshot: one that ends in between shows in the snapshot.
    writing, snapshot = results(connection, [run("writing", *baseline.mark.since), run("snapshot")])
    ((newer, writers),) = writing
    moved = newer or baseline.mark.moved(Snapshot.parse(snapshot[0][0]))
    return Signs(moved or _sequences_moved(connection, baseline), writers)


def restless(
    sequences: Sequence[Relation], standing: Mapping[int, Standing], open_before: Collection[str]
) -> tuple[Relation, ...]:
    """Return the sequences that may move without showing in a snapshot.

    They are not logged, or have values in advance, or may be used by an older transaction,
    which has its id already.
    """
    return tuple(s for s in sequences if open_before or s.unlogged or standing[s.oid].ahead)


def _capture(connection: Connection, lock_timeout: float, *, watch: bool) -> Baseline:
    replica = settle(connection)
    watched = watch and ddl.install(connection)
    # A transaction that is older than the event trigger does not fire it.
    watched = watched and not holders.open_transactions(connection)
    with transaction(connection, lock_timeout=lock_timeout, isolation="REPEATABLE READ"):
        mark = Mark(Snapshot.now(connection))
        open_before = frozenset(h.transaction for h in holders.open_transactions(connection))
        relations = catalog.read(connection, replica=replica)
        standing = read_sequences(connection, relations.sequences)
        own, prefix = row(
            connection,
            "SELECT xid, 'berth_' || xid "
            "FROM pg_catalog.text(pg_catalog.pg_current_xact_id()) AS xid",
        )
        kept = _keep(connection, relations, prefix)
        statements = prepared.prepare(
            connection,
            prefix,
            relations,
            kept,
            {oid: found.value for oid, found in standing.items()},
            open_before,
            watched=watched,
        )
        kept_objects = sql.Identifier("pg_temp", f"{prefix}_objects")
        kept_catalog = sql.Identifier("pg_temp", f"{prefix}_catalog")
        oids = ",".join(str(oid) for oid in kept)
        storage, sizes = results(
            connection, [statements.run("storage"), statements.run("sizes", f"'{{{oids}}}'")]
        )
        return Baseline(
            relations=relations,
            fingerprint=fingerprint.take(connection, kept_catalog),
            kept=kept,
            storage=storage_of(storage),
            sequences={oid: found.value for oid, found in standing.items()},
            restless=restless(relations.sequences, standing, open_before),
            sizes=dict(sizes),
            large_objects=large_objects.keep(connection, kept_objects),
            kept_objects=kept_objects,
            open_before=open_before,
            replica=replica,
            watched=watched,
            sentinel=_watch(connection, statements) if watched else (),
            prepared=statements,
            mark=mark.renewed(mark.snapshot, int(own)),
        )


def _keep(connection: Connection, relations: Relations, prefix: str) -> dict[int, Kept]:
    filled = with_rows(connection, relations.tables)
    readable = [view for view in relations.views if _is_populated(connection, view)]
    return {r.oid: _copy(connection, r, prefix) for r in (*filled, *readable)}


def _is_populated(connection: Connection, view: Relation) -> bool:
    query = "SELECT relispopulated FROM pg_catalog.pg_class WHERE oid = %s"
    return bool(row(connection, query, view.oid)[0])


def _watch(connection: Connection, statements: Prepared) -> tuple[str, ...]:
    """Begin to watch: what has been noted is part of the baseline."""
    noted, sentinel = results(connection, [statements.run("noted"), statements.run("sentinel")])
    ddl.forget(connection, noted[0][0])
    return tuple(sentinel[0][0])


def _copy(connection: Connection, relation: Relation, prefix: str) -> Kept:
    copy = sql.Identifier("pg_temp", f"{prefix}_{relation.oid}")
    cursor = connection.execute(
        sql.SQL("CREATE TEMP TABLE {} AS SELECT {} FROM ONLY {} ORDER BY ctid").format(
            copy, relation.column_list, relation.identifier
        )
    )
    return Kept(copy, cursor.rowcount)


def _sequences_moved(connection: Connection, baseline: Baseline) -> bool:
    found = read_sequences(connection, baseline.restless)
    return any(standing.value != baseline.sequences[oid] for oid, standing in found.items())
