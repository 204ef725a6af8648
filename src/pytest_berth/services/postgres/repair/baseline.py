"""What a database held when it was captured, and whether anything moved since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.services.postgres.repair import catalog, fingerprint, holders, large_objects
from pytest_berth.services.postgres.repair.failures import LeftOpen
from pytest_berth.services.postgres.repair.marks import XID_MODULUS, Mark, Snapshot
from pytest_berth.services.postgres.repair.session import (
    BATCH,
    Connection,
    may_be_replica,
    own_xid,
    row,
    rows,
    transaction,
    union_all,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_berth.services.postgres.repair.catalog import Relation, Relations
    from pytest_berth.services.postgres.repair.fingerprint import Fingerprint
    from pytest_berth.services.postgres.repair.large_objects import LargeObject


@dataclass(frozen=True)
class Kept:
    """The copy of a table's or materialized view's rows, in a temporary table."""

    copy: sql.Identifier
    rows: int


@dataclass(frozen=True)
class Storage:
    """Which file a relation is in, and whether it may be read."""

    filenode: int
    populated: bool


@dataclass(frozen=True)
class Baseline:
    """Everything that a database held at an instant; its copies live as long as the connection.

    Attributes:
        kept: The copies of the tables and materialized views that held rows.
        sequences: ``last_value`` and ``is_called`` of each sequence.
        open_before: Transactions of a wider scope, prepared ones included: never ended.
        replica: Whether the role may switch foreign keys and triggers off.
    """

    relations: Relations
    fingerprint: Fingerprint
    kept: Mapping[int, Kept]
    storage: Mapping[int, Storage]
    sequences: Mapping[int, tuple[int, bool]]
    large_objects: Mapping[int, LargeObject]
    kept_objects: sql.Identifier
    open_before: frozenset[str]
    replica: bool
    mark: Mark


def capture(connection: Connection, *, lock_timeout: float) -> Baseline:
    """Remember everything that the database holds.

    Args:
        connection: In autocommit mode, kept open; it keeps the copies in temporary tables.
        lock_timeout: Seconds to wait for each lock.

    Raises:
        LeftOpen: Others hold locks that exclude reading.
        IsolationError: The role may not do what is needed.
    """
    try:
        return _capture(connection, lock_timeout)
    except psycopg.errors.LockNotAvailable as error:
        found = holders.open_transactions(connection)
        raise LeftOpen([holder for holder in found if holder.locks], None) from error


def release(connection: Connection, baseline: Baseline) -> None:
    """Drop the copies of a baseline that is no longer needed."""
    copies = [kept.copy for kept in baseline.kept.values()]
    copies += [baseline.kept_objects, baseline.fingerprint.kept]
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(", ").join(copies)))


def changed(connection: Connection, baseline: Baseline) -> bool:
    """Tell whether anything may have been written since the baseline was captured or restored.

    False alarms happen (other databases' transactions count too), misses do not.
    """
    # First who is writing, then the snapshot: one that ends in between shows in the snapshot.
    return (
        _writing(connection, baseline)
        or baseline.mark.moved(Snapshot.now(connection))
        or _sequences_moved(connection, baseline)
    )


def read_sequences(
    connection: Connection, sequences: Sequence[Relation]
) -> dict[int, tuple[int, bool]]:
    """Return ``last_value`` and ``is_called`` of each sequence."""
    found: dict[int, tuple[int, bool]] = {}
    for batch in batches(sequences):
        query = union_all(
            [
                sql.SQL("SELECT {}, last_value, is_called FROM {}").format(
                    sql.Literal(sequence.oid), sequence.identifier
                )
                for sequence in batch
            ]
        )
        found |= {oid: (last, called) for oid, last, called in rows(connection, query)}
    return found


def read_storage(connection: Connection, oids: Collection[int]) -> dict[int, Storage]:
    """Return the storage of each relation."""
    query = (
        "SELECT oid::int8, relfilenode::int8, relispopulated FROM pg_catalog.pg_class "
        "WHERE oid = ANY (%s)"
    )
    return {
        oid: Storage(node, populated)
        for oid, node, populated in rows(connection, query, list(oids))
    }


def batches(relations: Sequence[Relation]) -> list[Sequence[Relation]]:
    """Cut *relations* into pieces that one query can name."""
    return [relations[start : start + BATCH] for start in range(0, len(relations), BATCH)]


def with_rows(connection: Connection, tables: Sequence[Relation]) -> list[Relation]:
    """Return the tables that are not empty."""
    found: list[Relation] = []
    for batch in batches(tables):
        flags = [sql.SQL("EXISTS (SELECT FROM ONLY {})").format(t.identifier) for t in batch]
        (filled,) = row(connection, sql.SQL("SELECT ARRAY[{}]").format(sql.SQL(", ").join(flags)))
        found += [table for table, has_rows in zip(batch, filled, strict=True) if has_rows]
    return found


def _capture(connection: Connection, lock_timeout: float) -> Baseline:
    connection.execute("SET statement_timeout = 0")
    replica = may_be_replica(connection)
    with transaction(
        connection, lock_timeout=lock_timeout, replica=replica, isolation="REPEATABLE READ"
    ):
        mark = Mark(Snapshot.now(connection))
        open_before = frozenset(h.transaction for h in holders.open_transactions(connection))
        relations = catalog.read(connection, replica=replica)
        storage = read_storage(connection, [r.oid for r in (*relations.tables, *relations.views)])
        sequences = read_sequences(connection, relations.sequences)
        (prefix,) = row(connection, "SELECT 'berth_' || pg_catalog.pg_current_xact_id()::text")
        readable = [view for view in relations.views if storage[view.oid].populated]
        filled = [*with_rows(connection, relations.tables), *readable]
        kept_objects = sql.Identifier("pg_temp", f"{prefix}_objects")
        return Baseline(
            relations,
            fingerprint.take(connection, sql.Identifier("pg_temp", f"{prefix}_catalog")),
            {relation.oid: _copy(connection, relation, prefix) for relation in filled},
            storage,
            sequences,
            large_objects.keep(connection, kept_objects),
            kept_objects,
            open_before,
            replica,
            mark.renewed(mark.snapshot, own_xid(connection)),
        )


def _copy(connection: Connection, relation: Relation, prefix: str) -> Kept:
    copy = sql.Identifier("pg_temp", f"{prefix}_{relation.oid}")
    cursor = connection.execute(
        sql.SQL("CREATE TEMP TABLE {} AS SELECT {} FROM ONLY {} ORDER BY ctid").format(
            copy, relation.column_list, relation.identifier
        )
    )
    return Kept(copy, cursor.rowcount)


def _writing(connection: Connection, baseline: Baseline) -> bool:
    query = """
        SELECT EXISTS (
            SELECT FROM pg_catalog.pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_catalog.pg_backend_pid()
            AND pg_catalog.age(backend_xid) <= pg_catalog.age(%s::text::xid)
        ) OR EXISTS (
            SELECT FROM pg_catalog.pg_prepared_xacts
            WHERE database = current_database() AND NOT '-1/' || transaction = ANY (%s)
        )
    """
    since = str(baseline.mark.snapshot.xmax % XID_MODULUS)
    (writing,) = row(connection, query, since, list(baseline.open_before))
    return bool(writing)


def _sequences_moved(connection: Connection, baseline: Baseline) -> bool:
    # nextval and an unlogged setval may take no transaction id, so no snapshot shows them.
    return read_sequences(connection, baseline.relations.sequences) != baseline.sequences
