"""Adds to a baseline what a fixture of a wider scope has written later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore import prepared_statements
from pytest_berth.services.postgres.restore.baseline import Baseline, RowCopy
from pytest_berth.services.postgres.restore.contents import Storage, storage_of
from pytest_berth.services.postgres.restore.transactions import (
    Connection,
    results,
    row,
    transaction,
)

if TYPE_CHECKING:
    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.large_objects import LargeObject

_NUMBERED = "SELECT c::text AS value, row_number() OVER (PARTITION BY c::text) AS n, c.* FROM {} c"
_SAME = """
WITH a AS ({first}), b AS ({second})
SELECT NOT EXISTS (SELECT FROM a FULL JOIN b USING (value, n) WHERE a.n IS NULL OR b.n IS NULL)
"""
# Rows are compared as text, as not all types can be compared; equal ones are told by a number.
_MERGE = """
CREATE TEMP TABLE {copy} AS
WITH before AS ({before}), earlier AS ({earlier}), later AS ({later})
SELECT {columns} FROM before
WHERE (value, n) NOT IN (SELECT value, n FROM earlier WHERE (value, n) NOT IN (
    SELECT value, n FROM later))
UNION ALL
SELECT {columns} FROM later WHERE (value, n) NOT IN (SELECT value, n FROM earlier)
"""
# No file has this number: what is compared with it is always put back.
_NOWHERE = 0


def rebase(
    connection: Connection,
    before: Baseline,
    earlier: Baseline,
    later: Baseline,
    *,
    lock_timeout: float,
) -> Baseline:
    """Return *before* with what has changed from *earlier* to *later*.

    Args:
        connection: The one that all of them were captured on.
        before: What is to be put back some time.
        earlier: A baseline captured after it.
        later: The present one.
        lock_timeout: Seconds to wait for each lock.
    """
    if before.prepared.prefix == earlier.prepared.prefix:
        return later
    with transaction(connection, lock_timeout=lock_timeout):
        return _Rebase(connection, before, earlier, later).baseline()


@dataclass(frozen=True)
class _Rebase:
    connection: Connection
    before: Baseline
    earlier: Baseline
    later: Baseline

    def baseline(self) -> Baseline:
        (prefix,) = row(self.connection, "SELECT 'berth_' || pg_catalog.pg_current_xact_id()::text")
        later, kept = self.later, dict[int, RowCopy]()
        differing: set[int] = set()
        for relation in (*later.relations.tables, *later.relations.views):
            copy = sql.Identifier("pg_temp", f"{prefix}_{relation.oid}")
            if not self._is_as_before(relation):
                differing.add(relation.oid)
            rows = self._copy(relation, copy, merge=relation.oid in differing)
            if rows or (rows is not None and relation.kind == "m"):
                kept[relation.oid] = RowCopy(copy, rows)
        sequences = self._sequences()
        statements = prepared_statements.prepare(
            self.connection,
            prefix,
            later.relations,
            kept,
            sequences,
            later.open_before,
            later.fingerprint,
            watched=later.watched,
        )
        (stored,) = results(self.connection, [statements.run("storage")])
        nowhere = {oid: Storage(_NOWHERE, True) for oid in differing}
        storage = storage_of(stored)
        return replace(
            later,
            copies=kept,
            storage={oid: nowhere.get(oid, found) for oid, found in storage.items()},
            sequences=sequences,
            object_copies=self._objects(f"{prefix}_objects"),
            large_objects=self._large_objects(),
            prepared=statements,
            stored=False,
        )

    def _is_as_before(self, relation: Relation) -> bool:
        """Tell whether nobody but the later fixture has changed a relation since *before*."""
        old, new = (each.copies.get(relation.oid) for each in (self.before, self.earlier))
        if old is None or new is None:
            return old is new
        if relation != self.before.relations.by_oid.get(relation.oid, relation):
            return True  # The later fixture has changed its columns: they cannot be compared.
        query = sql.SQL(_SAME).format(first=_numbered(old), second=_numbered(new))
        return bool(row(self.connection, query)[0])

    def _copy(self, relation: Relation, copy: sql.Identifier, *, merge: bool) -> int | None:
        """Make the copy of a relation's rows; return their number, None where there are none."""
        found = [each.copies.get(relation.oid) for each in (self.before, self.earlier, self.later)]
        model = next(filter(None, found), None)
        if model is None or (not merge and found[2] is None):
            return None
        if not merge:
            assert found[2] is not None
            select = sql.SQL("CREATE TEMP TABLE {} AS SELECT * FROM {} ORDER BY ctid")
            return self.connection.execute(select.format(copy, found[2].copy)).rowcount
        nothing = sql.SQL("{} WHERE false").format(_numbered(model))
        before, earlier, later = (_numbered(each) if each else nothing for each in found)
        statement = sql.SQL(_MERGE).format(
            copy=copy, before=before, earlier=earlier, later=later, columns=relation.column_list
        )
        return self.connection.execute(statement).rowcount

    def _sequences(self) -> dict[int, tuple[int, bool]]:
        before, earlier = self.before.sequences, self.earlier.sequences
        return {
            oid: before.get(oid, state) if earlier.get(oid) == state else state
            for oid, state in self.later.sequences.items()
        }

    def _large_objects(self) -> dict[int, LargeObject]:
        before, earlier = self.before.large_objects, self.earlier.large_objects
        added = {
            oid: found for oid, found in self.later.large_objects.items() if oid not in earlier
        }
        return {**before, **added}

    def _objects(self, name: str) -> sql.Identifier:
        copy = sql.Identifier("pg_temp", name)
        self.connection.execute(
            sql.SQL(
                "CREATE TEMP TABLE {} AS TABLE {} UNION ALL"
                " SELECT * FROM {} WHERE id NOT IN (SELECT id FROM {})"
            ).format(
                copy,
                self.before.object_copies,
                self.later.object_copies,
                self.earlier.object_copies,
            )
        )
        return copy


def _numbered(kept: RowCopy) -> sql.Composed:
    return sql.SQL(_NUMBERED).format(kept.copy)
