"""Tells whether the schema is the baseline's, and what differs.

Every row that a user's object has in a system catalog is compared, without the columns that
VACUUM, TRUNCATE, CLUSTER and REFRESH change. That takes ten milliseconds and more, so two cheaper
questions come first: whether the rows of users' objects are as many as they were, and none of
them newer than the position; and, where a command was noted, the same of the system's own objects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore.catalog import FIRST_USER_OID
from pytest_berth.services.postgres.restore.log_positions import NEWER
from pytest_berth.services.postgres.restore.transactions import Connection, row, rows, union_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_berth.services.postgres.restore.transactions import Row

DATABASE = "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())"
# Large objects may have any id; their comments are theirs.
_NO_LARGE_OBJECT = "c.classoid <> 'pg_largeobject'::regclass"
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
    Catalog("pg_class", where="true", without=STORAGE),
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
        where=f"(c.objoid >= {FIRST_USER_OID} OR c.classoid = 'pg_namespace'::regclass)"
        f" AND {_NO_LARGE_OBJECT}",
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
    SELECT class, id, sub, catalog, sum(hash) AS hash, count(*) AS entries
    FROM entry GROUP BY class, id, sub, catalog
) object
"""
# The types of arrays, and of a table's rows, come and go with what they are the types of.
BY_NAME = """
SELECT coalesce(name, pg_catalog.format('%s %s %s', class::regclass, id, sub)), sum(hash)::text
FROM ({objects}) described
WHERE class <> 'pg_catalog.pg_database'::regclass AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_type t WHERE t.oid = id AND class = 'pg_catalog.pg_type'::regclass
    AND (t.typtype = 'c' OR t.typcategory = 'A')
)
GROUP BY 1
"""
DIFFERENCES = """
, now AS ({objects})
SELECT coalesce(now.name, kept.name),
    kept.name IS NULL AND class <> 'pg_catalog.pg_database'::regclass,
    now.name IS NULL AND class <> 'pg_catalog.pg_database'::regclass
FROM (
    SELECT class, id, sub, sum(hash) AS hash, min(name) AS name FROM now GROUP BY class, id, sub
) now FULL JOIN (
    SELECT class, id, sub, sum(hash) AS hash, min(name) AS name FROM {kept}
    GROUP BY class, id, sub
) kept USING (class, id, sub)
WHERE now.hash IS DISTINCT FROM kept.hash
ORDER BY class <> 'pg_catalog.pg_class'::regclass, sub, id
"""
LISTED = """
SELECT object.class::text, object.id::text, object.sub::text, sum(object.hash)::text,
    min(object.name)
FROM ({objects}) object
GROUP BY object.class, object.id, object.sub
ORDER BY object.class <> 'pg_catalog.pg_class'::regclass, object.sub, object.id
"""
# Parts of other objects go with these. Nothing is returned where anything is gone, or altered.
CREATED = """
, now AS ({objects}), differing AS (
    SELECT now.class, now.id, kept.hash IS NOT NULL AS known
    FROM now FULL JOIN {kept} kept USING (class, id, sub, catalog)
    WHERE now.hash IS DISTINCT FROM kept.hash
)
SELECT found.type, found.identity
FROM (SELECT DISTINCT class, id FROM differing) object,
LATERAL pg_catalog.pg_identify_object(object.class, object.id, 0) found
WHERE NOT EXISTS (SELECT FROM differing WHERE known)
AND found.type = ANY (%s)
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = object.class AND d.objid = object.id AND d.deptype IN ('i', 'e')
)
ORDER BY object.id DESC
"""
_DROPPED_BY_NAME = [
    *("table", "view", "materialized view", "sequence", "foreign table", "index", "trigger"),
    *("type", "function", "procedure", "aggregate", "schema", "extension"),
]
# Small ones are looked at as a whole; of others the rows of users' objects are found by an index.
SMALL = frozenset(
    {
        *("pg_namespace", "pg_policy", "pg_inherits", "pg_partitioned_table", "pg_statistic_ext"),
        *("pg_enum", "pg_range", "pg_aggregate", "pg_opclass", "pg_opfamily", "pg_am", "pg_cast"),
        *("pg_conversion", "pg_language", "pg_transform", "pg_extension", "pg_event_trigger"),
        *("pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template", "pg_default_acl"),
        *("pg_foreign_data_wrapper", "pg_foreign_server", "pg_foreign_table", "pg_user_mapping"),
        *("pg_publication", "pg_publication_rel", "pg_publication_namespace", "pg_seclabel"),
    }
)
_COUNTED_APART = frozenset({"pg_class", "pg_attribute", "pg_db_role_setting"})
_COMPARED_WHOLLY = frozenset({"pg_class", "pg_namespace", "pg_user_mappings", "pg_db_role_setting"})
_SCHEMAS = {"pg_type": "typnamespace", "pg_proc": "pronamespace"}
_EXTENSION = "'pg_extension'"
# TOAST tables come and go with VACUUM FULL and REFRESH; the ids of their schema is fixed.
_TOAST = 99
_PASSING = f"(t.relnamespace = {_TOAST} OR t.relpersistence = 't')"
COUNTED = f"""
WITH temporary AS MATERIALIZED (
    SELECT ARRAY(SELECT t.oid FROM pg_catalog.pg_class t WHERE t.relpersistence = 't') AS relations,
    ARRAY(SELECT n.oid FROM pg_catalog.pg_namespace n
        WHERE n.nspname ~ '^pg_(toast_)?temp_') AS schemas
)
SELECT sum(entries)::int8, sum(changed)::int8 FROM (
    SELECT count(*) AS entries, count(*) FILTER (WHERE {NEWER} AND {{hash}} NOT IN (
        SELECT k.hash FROM {{kept}} k WHERE k.catalog = 'pg_class'
    )) AS changed
    FROM pg_catalog.pg_class c WHERE c.oid >= {FIRST_USER_OID}
    AND c.relpersistence <> 't' AND c.relnamespace <> {_TOAST}
    UNION ALL
    SELECT 0, count(*) FROM pg_catalog.pg_attribute c
    WHERE c.attrelid >= {FIRST_USER_OID} AND {NEWER} AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_class t WHERE t.oid = c.attrelid AND {_PASSING}
    )
    UNION ALL {{others}}
) catalog
"""
SYSTEM = """
SELECT sum(entries)::int8, sum(changed)::int8, array_agg(name) FILTER (WHERE changed > 0)
FROM ({catalogs}) catalog
"""


@dataclass(frozen=True)
class Fingerprint:
    """The schema at an instant.

    Attributes:
        entries: The query's part that yields the compared rows of this server's version.
        table: The table with the hash and name of each object.
    """

    entries: sql.Composed
    table: sql.Identifier


def stored_in(connection: Connection, table: sql.Identifier) -> Fingerprint:
    """Return the fingerprint that a table holds."""
    return Fingerprint(sql.SQL(HIDDEN).format(entries=_entries(connection)), table)


def take(connection: Connection, table: sql.Identifier) -> Fingerprint:
    """Remember the schema in the new table *table*."""
    found = stored_in(connection, table)
    connection.execute(
        sql.SQL("CREATE TABLE {} AS {}{}").format(table, found.entries, sql.SQL(OBJECTS))
    )
    return found


def differences(connection: Connection, fingerprint: Fingerprint) -> list[str]:
    """Return what was created, altered or dropped since the fingerprint was taken."""
    same = sql.SQL(SAME).format(kept=fingerprint.table)
    if row(connection, fingerprint.entries + same)[0]:
        return []
    query = sql.SQL(DIFFERENCES).format(objects=sql.SQL(OBJECTS), kept=fingerprint.table)
    return [
        f"{name} was {'created' if created else 'dropped' if dropped else 'altered'}"
        for name, created, dropped in rows(connection, fingerprint.entries + query)
    ]


def listing(connection: Connection) -> sql.Composed:
    """Return the query for all objects, to be asked where `compared` needs its rows."""
    entries = sql.SQL(HIDDEN).format(entries=_entries(connection))
    return entries + sql.SQL(LISTED).format(objects=sql.SQL(OBJECTS))


def compared(before: Sequence[Row], now: Sequence[Row]) -> list[str]:
    """Return what was created, altered or dropped between two answers to a `listing`."""
    old, new = ({row[:3]: row[3:] for row in found} for found in (before, now))
    return [
        f"{name} was {'altered' if key in old else 'created'}"
        for key, (digest, name) in new.items()
        if key not in old or old[key][0] != digest
    ] + [f"{name} was dropped" for key, (_, name) in old.items() if key not in new]


def objects(connection: Connection) -> list[tuple[str, str]]:
    """Return name and digest of each object of the schema as it is now, but for the database."""
    entries = sql.SQL(HIDDEN).format(entries=_entries(connection))
    query = sql.SQL(BY_NAME).format(objects=sql.SQL(OBJECTS))
    return [(str(name), str(digest)) for name, digest in rows(connection, entries + query)]


def created(connection: Connection, fingerprint: Fingerprint) -> list[tuple[str, str]]:
    """Return kind and name, as in DROP, of what was created, the newest first.

    Nothing is returned where an object of the fingerprint was altered or dropped.
    """
    query = sql.SQL(CREATED).format(objects=sql.SQL(OBJECTS), kept=fingerprint.table)
    found = rows(connection, fingerprint.entries + query, _DROPPED_BY_NAME)
    return [(str(kind), str(name)) for kind, name in found]


def counted(connection: Connection, fingerprint: Fingerprint) -> sql.Composed:
    """Return the query for how many rows users' objects have, and how many are not as they were.

    Its parameters are those of `NEWER`.
    """
    columns = _columns(connection)
    (own,) = (each for each in CATALOGS if each.name == "pg_class")
    others = [_counted(each) for each in _counted_catalogs(columns)]
    return sql.SQL(COUNTED).format(
        hash=_hash(own, columns[own.name]), kept=fingerprint.table, others=union_all(others)
    )


def counted_of_system(connection: Connection) -> sql.Composed:
    """Return a query for the rows of the system's objects, and for those after the position."""
    columns = _columns(connection)
    parts = [
        sql.SQL(
            "SELECT {label} AS name, count(*) AS entries, count(*) FILTER (WHERE {newer})"
            " AS changed FROM pg_catalog.{name} c WHERE c.{key}::oid < {first} AND {but}"
        ).format(
            label=sql.Literal(catalog.name),
            newer=sql.SQL(NEWER),
            name=sql.Identifier(catalog.name),
            key=sql.Identifier(catalog.key),
            first=sql.Literal(FIRST_USER_OID),
            but=sql.SQL(_NO_LARGE_OBJECT if catalog.name == "pg_description" else "true"),
        )
        for catalog in CATALOGS
        if catalog.name in columns and catalog.name not in _COMPARED_WHOLLY
    ]
    return sql.SQL(SYSTEM).format(catalogs=union_all(parts))


def _counted_catalogs(columns: Mapping[str, object]) -> Iterator[Catalog]:
    for catalog in CATALOGS:
        if catalog.name == "pg_user_mappings":  # a view
            yield Catalog("pg_user_mapping")
        elif catalog.name == "pg_depend":
            yield replace(catalog, where=f"c.refclassid = {_EXTENSION}::regclass")
            yield replace(
                catalog,
                where=f"c.classid = 'pg_class'::regclass AND c.objid >= {FIRST_USER_OID}",
                owner="objid",
            )
        elif catalog.name == "pg_description":
            yield replace(catalog, where=f"c.objoid >= {FIRST_USER_OID}")
            yield replace(
                catalog,
                where="c.classoid = 'pg_namespace'::regclass AND c.objoid = ANY (ARRAY("
                f"SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.oid < {FIRST_USER_OID}))",
            )
        elif catalog.name in columns and catalog.name not in _COUNTED_APART:
            where = "true" if catalog.name in SMALL else ""
            yield replace(catalog, where=where)


def _counted(catalog: Catalog) -> sql.Composed:
    where = catalog.where or f"c.{catalog.key} >= {FIRST_USER_OID}"
    newer = NEWER
    if catalog.owner or catalog.of == "pg_class":
        owner = f"c.{catalog.owner or catalog.key}"
        where += f" AND {owner} <> ALL ((SELECT relations FROM temporary)::oid[])"
        newer += (
            f" AND NOT EXISTS (SELECT FROM pg_catalog.pg_class t WHERE t.oid = {owner}"
            f" AND {_PASSING})"
        )
    elif catalog.name in _SCHEMAS:
        where += f" AND c.{_SCHEMAS[catalog.name]} <> ALL ((SELECT schemas FROM temporary)::oid[])"
    elif catalog.name == "pg_namespace":
        where = "c.nspname !~ '^pg_(toast_)?temp_'"
    return sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE {newer}) FROM pg_catalog.{name} c WHERE {where}"
    ).format(newer=sql.SQL(newer), name=sql.Identifier(catalog.name), where=sql.SQL(where))


def _entries(connection: Connection) -> sql.Composed:
    columns = _columns(connection)
    return union_all(
        [_entry(catalog, columns[catalog.name]) for catalog in CATALOGS if catalog.name in columns]
    )


def _columns(connection: Connection) -> dict[str, list[str]]:
    """Return the columns of the catalogs that this server's version has."""
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
    return columns


def _hash(catalog: Catalog, columns: list[str]) -> sql.Composed:
    compared = [name for name in columns if name not in catalog.without.split()]
    return sql.SQL("pg_catalog.hashtextextended({name} || ROW({columns})::text, 0)").format(
        name=sql.Literal(catalog.name),
        columns=sql.SQL(", ").join(sql.Identifier("c", name) for name in compared),
    )


def _entry(catalog: Catalog, columns: list[str]) -> sql.Composed:
    of = catalog.of or catalog.name
    return sql.SQL(
        "SELECT {of} AS class, c.{key}::oid AS id, {sub}::int AS sub, "
        "{name}::text AS catalog, {hash} AS hash "
        "FROM pg_catalog.{catalog} c "
        "WHERE {where} AND c.{owner}::oid NOT IN (SELECT h.oid FROM hidden h)"
    ).format(
        of=sql.SQL(of if "." in of else f"'pg_catalog.{of}'::regclass::oid"),
        key=sql.Identifier(catalog.key),
        sub=sql.SQL(catalog.sub),
        name=sql.Literal(catalog.name),
        hash=_hash(catalog, columns),
        catalog=sql.Identifier(catalog.name),
        where=sql.SQL(catalog.where or f"c.{catalog.key}::oid >= {FIRST_USER_OID}"),
        owner=sql.Identifier(catalog.owner or catalog.key),
    )
