"""Whether the schema is the one of the baseline, and what differs.

Every row that a user's object has in a system catalog is compared, without the columns that
VACUUM, TRUNCATE, CLUSTER and REFRESH change. Objects of the system itself are not compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from pytest_berth.services.postgres.repair.catalog import FIRST_USER_OID
from pytest_berth.services.postgres.repair.session import Connection, row, rows, union_all

DATABASE = "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())"
STORAGE = (
    "relfilenode relpages reltuples relallvisible relallfrozen reltoastrelid relhasindex "
    "relhasrules relhastriggers relhassubclass relispopulated relrewrite relfrozenxid relminmxid"
)


@dataclass(frozen=True)
class Catalog:
    """A system catalog, and how its rows name the objects they describe.

    Attributes:
        key: The column with the id of the object that a row belongs to.
        owner: The column with the id that tells temporary objects; *key* if empty.
        of: The catalog that *key* points into; *name* if empty.
        sub: The column with the number within the object.
        where: Which rows are compared; a user's objects if empty.
        without: Columns that change without a change of the schema, separated by spaces.
    """

    name: str
    key: str = "oid"
    owner: str = ""
    of: str = ""
    sub: str = "0"
    where: str = ""
    without: str = ""


CATALOGS = (
    Catalog("pg_namespace", where="c.nspname !~ '^pg_(toast_)?temp_'"),
    Catalog("pg_class", without=STORAGE),
    Catalog(
        "pg_attribute",
        key="attrelid",
        of="pg_class",
        sub="c.attnum",
        where=f"c.attnum > 0 AND c.attrelid >= {FIRST_USER_OID}",
        without="atthasmissing attmissingval attcacheoff",
    ),
    Catalog("pg_attrdef", owner="adrelid"),
    Catalog("pg_constraint", owner="conrelid"),
    Catalog("pg_index", key="indexrelid", of="pg_class", without="indcheckxmin"),
    Catalog("pg_trigger", owner="tgrelid"),
    Catalog("pg_rewrite", owner="ev_class"),
    Catalog("pg_policy", owner="polrelid"),
    Catalog("pg_inherits", key="inhrelid", of="pg_class"),
    Catalog("pg_partitioned_table", key="partrelid", of="pg_class"),
    Catalog("pg_sequence", key="seqrelid", of="pg_class"),
    Catalog("pg_statistic_ext", owner="stxrelid"),
    Catalog("pg_type"),
    Catalog("pg_enum", key="enumtypid", of="pg_type"),
    Catalog("pg_range", key="rngtypid", of="pg_type"),
    Catalog("pg_proc"),
    Catalog("pg_aggregate", key="aggfnoid", of="pg_proc"),
    Catalog("pg_operator"),
    Catalog("pg_opclass"),
    Catalog("pg_opfamily"),
    Catalog("pg_amop"),
    Catalog("pg_amproc"),
    Catalog("pg_am"),
    Catalog("pg_cast"),
    Catalog("pg_collation"),
    Catalog("pg_conversion"),
    Catalog("pg_language"),
    Catalog("pg_transform"),
    Catalog("pg_extension"),
    Catalog("pg_event_trigger"),
    Catalog("pg_ts_config"),
    Catalog("pg_ts_config_map", key="mapcfg", of="pg_ts_config"),
    Catalog("pg_ts_dict"),
    Catalog("pg_ts_parser"),
    Catalog("pg_ts_template"),
    Catalog("pg_foreign_data_wrapper"),
    Catalog("pg_foreign_server"),
    Catalog("pg_foreign_table", key="ftrelid", of="pg_class"),
    Catalog("pg_user_mappings", key="umid", of="pg_user_mapping"),
    Catalog("pg_publication"),
    Catalog("pg_publication_rel", owner="prrelid"),
    Catalog("pg_publication_namespace"),
    Catalog("pg_default_acl"),
    Catalog(
        "pg_description",
        key="objoid",
        of="c.classoid",
        sub="c.objsubid",
        where=f"(c.objoid >= {FIRST_USER_OID} OR c.classoid = 'pg_namespace'::regclass)",
    ),
    Catalog("pg_seclabel", key="objoid", of="c.classoid", sub="c.objsubid"),
    Catalog(
        "pg_depend",
        key="objid",
        of="c.classid",
        sub="c.objsubid",
        where="(c.deptype IN ('e', 'x') OR c.deptype = 'a' AND c.classid = 'pg_class'::regclass)"
        f" AND c.objid >= {FIRST_USER_OID}",
    ),
    Catalog(
        "pg_db_role_setting",
        key="setdatabase",
        of="pg_database",
        where=f"c.setdatabase = {DATABASE}",
    ),
)

# Temporary and TOAST objects, and copies of ours: what is kept is not part of the schema.
HIDDEN = """
WITH away AS MATERIALIZED (
    SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast$|(toast_)?temp_)'
), ours AS MATERIALIZED (
    SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'information_schema'
), hidden AS MATERIALIZED (
    SELECT oid FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT oid FROM away)
    OR relnamespace IN (SELECT oid FROM ours) AND relname ~ '^berth_kept_'
    UNION ALL
    SELECT oid FROM pg_catalog.pg_type WHERE typnamespace IN (SELECT oid FROM away)
    OR typnamespace IN (SELECT oid FROM ours) AND typname ~ '^_?berth_kept_'
    UNION ALL
    SELECT oid FROM pg_catalog.pg_proc WHERE pronamespace IN (SELECT oid FROM away)
), entry AS ({entries})
"""
SAME = """
SELECT (SELECT ROW(count(*)::numeric, sum(entry.hash)) FROM entry)
    IS NOT DISTINCT FROM (SELECT ROW(sum(kept.entries), sum(kept.hash)) FROM {kept} kept)
"""
OBJECTS = """
SELECT object.*, pg_catalog.pg_describe_object(object.class, object.id, object.sub) AS name
FROM (
    SELECT class, id, sub, sum(hash) AS hash, count(*) AS entries
    FROM entry GROUP BY class, id, sub
) object
"""
DIFFERENCES = """
, now AS ({objects})
SELECT coalesce(now.name, kept.name),
    kept.name IS NULL AND class <> 'pg_catalog.pg_database'::regclass,
    now.name IS NULL AND class <> 'pg_catalog.pg_database'::regclass
FROM now FULL JOIN {kept} kept USING (class, id, sub)
WHERE now.hash IS DISTINCT FROM kept.hash
ORDER BY class <> 'pg_catalog.pg_class'::regclass, sub, id
"""


@dataclass(frozen=True)
class Fingerprint:
    """The schema at an instant.

    Attributes:
        entries: The query's part that yields the compared rows of this server's version.
        kept: The table with the hash and name of each object.
    """

    entries: sql.Composed
    kept: sql.Identifier


def kept_in(connection: Connection, kept: sql.Identifier) -> Fingerprint:
    """Return the fingerprint that a table holds."""
    return Fingerprint(sql.SQL(HIDDEN).format(entries=_entries(connection)), kept)


def take(connection: Connection, kept: sql.Identifier) -> Fingerprint:
    """Remember the schema in the new table *kept*."""
    found = kept_in(connection, kept)
    connection.execute(
        sql.SQL("CREATE TABLE {} AS {}{}").format(kept, found.entries, sql.SQL(OBJECTS))
    )
    return found


def differences(connection: Connection, fingerprint: Fingerprint) -> list[str]:
    """Return what was created, altered or dropped since the fingerprint was taken."""
    same = sql.SQL(SAME).format(kept=fingerprint.kept)
    if row(connection, fingerprint.entries + same)[0]:
        return []
    query = sql.SQL(DIFFERENCES).format(objects=sql.SQL(OBJECTS), kept=fingerprint.kept)
    return [
        f"{name} was {'created' if created else 'dropped' if dropped else 'altered'}"
        for name, created, dropped in rows(connection, fingerprint.entries + query)
    ]


def _entries(connection: Connection) -> sql.Composed:
    columns: dict[str, list[str]] = {}
    for catalog, column in rows(
        connection,
        "SELECT c.relname::text, a.attname::text FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
        "WHERE c.relnamespace = 'pg_catalog'::regnamespace AND NOT a.attisdropped "
        "AND c.relname = ANY (%s) ORDER BY c.oid, a.attnum",
        [catalog.name for catalog in CATALOGS],
    ):
        columns.setdefault(catalog, []).append(column)
    return union_all(
        [_entry(catalog, columns[catalog.name]) for catalog in CATALOGS if catalog.name in columns]
    )


def _entry(catalog: Catalog, columns: list[str]) -> sql.Composed:
    of = catalog.of or catalog.name
    compared = [name for name in columns if name not in catalog.without.split()]
    return sql.SQL(
        "SELECT {of} AS class, c.{key}::oid AS id, {sub}::int AS sub, "
        "pg_catalog.hashtextextended({name} || ROW({columns})::text, 0) AS hash "
        "FROM pg_catalog.{catalog} c "
        "WHERE {where} AND c.{owner}::oid NOT IN (SELECT h.oid FROM hidden h)"
    ).format(
        of=sql.SQL(of if "." in of else f"'pg_catalog.{of}'::regclass::oid"),
        key=sql.Identifier(catalog.key),
        sub=sql.SQL(catalog.sub),
        name=sql.Literal(catalog.name),
        columns=sql.SQL(", ").join(sql.Identifier("c", name) for name in compared),
        catalog=sql.Identifier(catalog.name),
        where=sql.SQL(catalog.where or f"c.{catalog.key}::oid >= {FIRST_USER_OID}"),
        owner=sql.Identifier(catalog.owner or catalog.key),
    )
