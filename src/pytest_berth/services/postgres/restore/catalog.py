"""Reads which tables, sequences and materialized views a database has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore.transactions import Connection, rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Objects of the system have lower ids (FirstNormalObjectId).
FIRST_USER_OID = 16384


@dataclass(frozen=True)
class Guard:
    """What stands in the way of putting rows back, so has to be off meanwhile.

    A trigger, a rule, or the lack of a replica identity, without which a published table
    refuses deletions.
    """

    kind: str
    name: str
    enabled: str


@dataclass(frozen=True)
class Relation:
    """A table, materialized view or sequence.

    Attributes:
        columns: The columns that a row is written to: all but the generated ones.
        guards: Triggers and rules to switch off for the restore.
        referencing: The ids of the tables with a foreign key to this one.
        leaves: For a partitioned table: the ids of all its leaf partitions.
        unlogged: Whether its changes leave no trace in the write-ahead log.
    """

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[str, ...] = ()
    guards: tuple[Guard, ...] = ()
    referencing: tuple[int, ...] = ()
    leaves: tuple[int, ...] = ()
    unlogged: bool = False

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted, qualified name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def column_list(self) -> sql.Composed:
        """The quoted columns, separated by commas."""
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Relations:
    """Everything in a database that holds contents."""

    tables: tuple[Relation, ...]
    views: tuple[Relation, ...]
    sequences: tuple[Relation, ...]
    partitioned: tuple[Relation, ...]

    @property
    def by_oid(self) -> Mapping[int, Relation]:
        """Tables, partitioned ones included, by their id."""
        return {table.oid: table for table in (*self.tables, *self.partitioned)}


RELATIONS = """
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text,
    ARRAY(
        SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        ORDER BY a.attnum
    ),
    coalesce(k.referencing, '{}'),
    CASE WHEN c.relkind = 'p' THEN ARRAY(
        SELECT p.relid::oid::int8 FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf
    ) ELSE '{}' END,
    c.relpersistence = 'u'
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (
    SELECT f.confrelid, array_agg(DISTINCT f.conrelid::int8) AS referencing
    FROM pg_catalog.pg_constraint f
    WHERE f.contype = 'f' AND f.conrelid <> f.confrelid GROUP BY f.confrelid
) k ON k.confrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'm', 'S')
AND c.relpersistence <> 't'
AND c.oid >= %s
AND NOT (n.nspname = 'information_schema' AND c.relname ~ '^berth_(ddl$|kept_)')
AND (%s OR NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    LEFT JOIN pg_catalog.pg_depend e ON e.classid = d.refclassid AND e.objid = d.refobjid
    AND c.relkind = 'S' AND d.deptype IN ('a', 'i')
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
    AND 'e' IN (d.deptype, e.deptype)
))
ORDER BY c.oid
"""

GUARDS = """
SELECT t.tgrelid::int8, 'TRIGGER', t.tgname::text, t.tgenabled::text
FROM pg_catalog.pg_trigger t WHERE t.tgenabled = ANY (%s) AND (%s OR NOT t.tgisinternal)
UNION ALL
SELECT r.ev_class::int8, 'RULE', r.rulename::text, r.ev_enabled::text
FROM pg_catalog.pg_rewrite r WHERE r.ev_enabled = ANY (%s) AND r.ev_type <> '1'
UNION ALL
SELECT c.oid::int8, 'REPLICA IDENTITY', '', c.relreplident::text
FROM pg_catalog.pg_class c
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= %s
AND EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubdelete)
AND (c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
))
"""


def read(connection: Connection, *, replica: bool) -> Relations:
    """Return all relations but those of the system and temporary ones.

    Those of extensions only where the role may write them.
    """
    guards = _guards(connection, replica=replica)
    found = [
        Relation(
            oid,
            schema,
            name,
            kind,
            tuple(columns),
            tuple(guards.get(oid, ())),
            tuple(referencing),
            tuple(leaves),
            unlogged,
        )
        for oid, schema, name, kind, columns, referencing, leaves, unlogged in rows(
            connection, RELATIONS, FIRST_USER_OID, replica
        )
    ]
    return Relations(*(_of_kind(found, kind) for kind in "rmSp"))


def closure(relations: Relations, tables: Iterable[Relation]) -> list[Relation]:
    """Return *tables* and all that reference them, as one TRUNCATE has to name them."""
    by_oid = relations.by_oid
    pending = [table.oid for table in tables]
    reached: set[int] = set()
    while pending:
        oid = pending.pop()
        if oid in by_oid and oid not in reached:
            reached.add(oid)
            pending += [*by_oid[oid].referencing, *by_oid[oid].leaves]
    return [by_oid[oid] for oid in sorted(reached)]


def _guards(connection: Connection, *, replica: bool) -> dict[int, list[Guard]]:
    # The owner cannot switch a foreign key off; a replica fires what is ENABLE REPLICA or ALWAYS.
    fire = ["A", "R"] if replica else ["O", "A"]
    found: dict[int, list[Guard]] = {}
    found_rows = rows(connection, GUARDS, fire, replica, fire, FIRST_USER_OID)
    for relation, kind, name, enabled in found_rows:
        found.setdefault(relation, []).append(Guard(kind, name, enabled))
    return found


def _of_kind(relations: Iterable[Relation], kind: str) -> tuple[Relation, ...]:
    return tuple(relation for relation in relations if relation.kind == kind)
