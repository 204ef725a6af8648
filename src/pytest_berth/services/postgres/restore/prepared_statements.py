"""Prepares the statements of every check and restore: parsed and planned once per baseline.

Named by the baseline's prefix, they are run as text (``EXECUTE``), many in one round trip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore import ddl_trigger, large_objects, schema_fingerprint
from pytest_berth.services.postgres.restore.contents import batches, storage_query
from pytest_berth.services.postgres.restore.log_positions import MAY_WRITE, NEWER
from pytest_berth.services.postgres.restore.transactions import (
    Connection,
    current_database,
    union_all,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_berth.services.postgres.restore.catalog import Relation, Relations
    from pytest_berth.services.postgres.restore.schema_fingerprint import Fingerprint

# Only backends of this database, as far as the role may see what they do: those that write since
# the position, and those that may have begun before it.
WRITING = """
SELECT coalesce(bool_or(pg_catalog.age(xid) <= pg_catalog.age($1)), false), count(xid) > 0
FROM (
    SELECT backend_xid AS xid FROM pg_catalog.pg_stat_get_activity(NULL)
    WHERE datid = {database} AND pid <> pg_catalog.pg_backend_pid()
    AND pg_catalog.age(backend_xid) <= pg_catalog.age($2)
    UNION ALL
    SELECT $1 FROM pg_catalog.pg_prepared_xact()
    WHERE dbid = {database} AND NOT '-1/' || transaction = ANY ({before})
) writing
"""
# Tells all other backends of clients to end; returns those still there. Not by the view
# pg_stat_activity, which looks up names.
END_OTHERS = """
SELECT pid, pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_get_activity(NULL)
WHERE datid = {database} AND backend_type = 'client backend'
AND pid <> pg_catalog.pg_backend_pid() AND pid <> ALL ($1)
"""
SNAPSHOT = "SELECT pg_catalog.pg_current_snapshot()::text"
# Others' statements that may write: one that has not written yet has no transaction id.
RUNNING = f"""
EXISTS (
    SELECT FROM pg_catalog.pg_stat_get_activity(NULL)
    WHERE datid = {{database}} AND pid <> pg_catalog.pg_backend_pid()
    AND backend_type = 'client backend' AND {MAY_WRITE}
)
"""
# Whether others run such a statement, where that is asked, and only then how many ids were given
# away that the snapshot does not tell of: those of transactions that began after the last one that
# has ended.
NOW = """
SELECT now::text || ' ' || {running}
    || ' ' || pg_catalog.age(pg_catalog.pg_snapshot_xmax(now)::xid)
FROM pg_catalog.pg_current_snapshot() AS now
"""
OWN_XID = "SELECT pg_catalog.pg_current_xact_id_if_assigned()::text"
# All of them, moved or not: that costs less than reading where each of them stands, and it
# leaves none of them with values in advance, which it could give away without a transaction id.
SET_SEQUENCES = """
SELECT oid::int8
FROM (
    SELECT oid, pg_catalog.pg_sequence_last_value(oid) AS before,
        CASE WHEN called THEN last END AS stood, pg_catalog.setval(oid, last, called) AS put
    FROM unnest({oids}, {last}, {called}) AS s (oid, last, called)
    OFFSET 0
) sequence
WHERE before IS DISTINCT FROM stood
"""


# Without what else belongs to a table: looking for each of its files takes longer than a deletion.
SIZES = """
SELECT oid::int8, pg_catalog.pg_relation_size(oid) + CASE reltoastrelid
    WHEN 0 THEN 0 ELSE coalesce(pg_catalog.pg_relation_size(reltoastrelid), 0) END
FROM pg_catalog.pg_class WHERE oid = ANY ($1)
"""


@dataclass(frozen=True)
class Prepared:
    """The statements of a baseline.

    Attributes:
        empty: For tables without rows: the bytes of those that have some now, 100 tables each.
        seeded: For tables with rows: how many are newer than the position, and how many are not.
        views: The same, for each materialized view by its id.
    """

    prefix: str
    empty: tuple[str, ...]
    seeded: tuple[str, ...]
    views: Mapping[int, str]

    def run(self, name: str, *arguments: str) -> str:
        """Return the text that runs a statement."""
        given = f" ({', '.join(arguments)})" if arguments else ""
        return f"EXECUTE {self.prefix}_{name}{given}"


def prepare(
    connection: Connection,
    prefix: str,
    relations: Relations,
    kept: Collection[int],
    sequences: Mapping[int, tuple[int, bool]],
    open_before: Collection[str],
    found: Fingerprint,
    *,
    watched: bool,
) -> Prepared:
    """Prepare the statements of a baseline."""
    tables = relations.tables
    empty = [_empty(batch) for batch in batches([t for t in tables if t.oid not in kept])]
    seeded = [counts(batch) for batch in batches([t for t in tables if t.oid in kept])]
    database = sql.Literal(current_database(connection))
    views = {view.oid: counts([view]) for view in relations.views if view.oid in kept}
    texts = {
        "writing(xid, xid)": sql.SQL(WRITING).format(
            database=database, before=array("text", sorted(open_before))
        ),
        "others(int[])": sql.SQL(END_OTHERS).format(database=database),
        "sizes(oid[])": sql.SQL(SIZES),
        "now": sql.SQL(NOW).format(running=sql.Literal("false")),
        "end": sql.SQL(NOW).format(running=sql.SQL(RUNNING).format(database=database)),
        "snapshot": sql.SQL(SNAPSHOT),
        "xid": sql.SQL(OWN_XID),
        "storage": storage_query([r.oid for r in (*tables, *relations.views) if _kept(r, kept)]),
        "objects": large_objects.query(connection),
        "sentinel": ddl_trigger.sentinel(database),
        "sequences": set_sequences(sequences),
        **{f"empty_{number}": text for number, text in enumerate(empty)},
        **{f"seeded_{number}(xid, xid[])": text for number, text in enumerate(seeded)},
        **{f"view_{oid}(xid, xid[])": text for oid, text in views.items()},
    }
    if watched:
        texts |= {"noted": sql.SQL(ddl_trigger.NOTED), **_catalog_counts(connection, found)}
    _prepare(connection, prefix, texts)
    return Prepared(
        prefix,
        tuple(f"empty_{number}" for number in range(len(empty))),
        tuple(f"seeded_{number}" for number in range(len(seeded))),
        {oid: f"view_{oid}" for oid in views},
    )


def prepare_counts(connection: Connection, prefix: str, found: Fingerprint) -> Prepared:
    """Prepare only the statements that count the rows of the catalogs."""
    _prepare(connection, prefix, _catalog_counts(connection, found))
    return Prepared(prefix, (), (), {})


def _catalog_counts(connection: Connection, found: Fingerprint) -> dict[str, sql.Composed]:
    return {
        "catalog(xid, xid[])": schema_fingerprint.counted(connection, found),
        "system(xid, xid[])": schema_fingerprint.counted_of_system(connection),
    }


def _prepare(connection: Connection, prefix: str, texts: Mapping[str, sql.Composable]) -> None:
    statements = [
        sql.SQL("PREPARE {} AS {}").format(_signature(prefix, name), text)
        for name, text in texts.items()
    ]
    connection.execute(sql.SQL("; ").join(statements), prepare=False)


def deallocate(connection: Connection, prepared: Prepared) -> None:
    """Forget the statements of a baseline."""
    names = connection.execute(
        "SELECT name FROM pg_catalog.pg_prepared_statements WHERE starts_with(name, %s)",
        [f"{prepared.prefix}_"],
    ).fetchall()
    for name in names:
        connection.execute(sql.SQL("DEALLOCATE {}").format(sql.Identifier(*name)))


def _kept(relation: Relation, kept: Collection[int]) -> bool:
    return relation.kind == "m" or relation.oid in kept


def _signature(prefix: str, name: str) -> sql.Composed:
    name, bracket, types = name.partition("(")
    return sql.SQL("{}{}").format(sql.Identifier(f"{prefix}_{name}"), sql.SQL(bracket + types))


def _empty(tables: Sequence[Relation]) -> sql.Composed:
    size = sql.SQL(
        "CASE WHEN EXISTS (SELECT FROM ONLY {}) THEN pg_catalog.pg_relation_size({}) END"
    )
    sizes = [size.format(table.identifier, sql.Literal(table.oid)) for table in tables]
    return sql.SQL("SELECT ARRAY[{}]").format(sql.SQL(", ").join(sizes))


def counts(relations: Sequence[Relation]) -> sql.Composed:
    """Return the query for how many rows relations have that are newer, and how many not."""
    count = sql.SQL(
        "SELECT {}::int8, count(*) FILTER (WHERE {newer}), count(*) FILTER (WHERE NOT {newer})"
        " FROM ONLY {}"
    )
    return union_all(
        [count.format(sql.Literal(r.oid), r.identifier, newer=sql.SQL(NEWER)) for r in relations]
    )


def set_sequences(sequences: Mapping[int, tuple[int, bool]]) -> sql.Composed:
    """Return the statement that sets sequences to their values."""
    return sql.SQL(SET_SEQUENCES).format(
        oids=array("oid", list(sequences)),
        last=array("int8", [last for last, _ in sequences.values()]),
        called=array("bool", [called for _, called in sequences.values()]),
    )


def array(kind: str, values: Sequence[object]) -> sql.Composed:
    """Return an array as SQL."""
    items = sql.SQL(", ").join(map(sql.Literal, values))
    return sql.SQL("ARRAY[{}]::{}[]").format(items, sql.SQL(kind))
