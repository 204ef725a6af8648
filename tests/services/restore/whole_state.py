"""All that a test may see of a database and its server, read without the plugin's help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

Connection = psycopg.Connection[Any]
State = dict[str, Any]

# Where rows lie, and what the planner knows of them, is not what they say.
VOLATILE = {
    "pg_class": "relfilenode relpages reltuples relallvisible relallfrozen reltoastrelid "
    "relfrozenxid relminmxid relhasindex relhasrules relhastriggers relhassubclass",
    "pg_attribute": "attcacheoff atthasmissing attmissingval",
    "pg_index": "indcheckxmin",
}
LEFT_OUT = ["pg_statistic", "pg_statistic_ext_data", "pg_largeobject"]
COLUMNS = """
SELECT c.relname::text, a.attname::text, a.atttypid = 'oid'::regtype FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
AND c.relname <> ALL (%s) ORDER BY c.oid, a.attnum
"""
# TOAST tables and temporary objects, and the plugin's own.
HIDDEN = """
WITH away AS MATERIALIZED (
    SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast$|(toast_)?temp_)'
), hidden AS MATERIALIZED (
    SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM away) OR relname ~ '^_?berth_'
    UNION ALL
    SELECT oid FROM pg_type WHERE typnamespace IN (SELECT oid FROM away) OR typname ~ '^_?berth_'
    UNION ALL
    SELECT oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM away) OR proname ~ '^berth_'
    UNION ALL SELECT oid FROM pg_event_trigger WHERE evtname ~ '^berth_'
    UNION ALL SELECT oid FROM away
    UNION ALL
    SELECT oid FROM pg_constraint WHERE connamespace IN (SELECT oid FROM away)
    OR conname ~ '^berth_'
    UNION ALL SELECT oid FROM pg_attrdef WHERE adrelid IN (
        SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM away)
        OR relname ~ '^berth_'
    )
)
"""
RELATIONS = """
SELECT n.nspname, c.relname, c.relkind::text, c.relispopulated FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'S') AND c.relpersistence <> 't'
AND n.nspname <> 'pg_catalog' AND c.relname !~ '^berth_' ORDER BY 1, 2
"""
SERVER = {
    "database": "SELECT datdba::regrole, datallowconn, datistemplate, datconnlimit,"
    " datacl::text, dattablespace FROM pg_database WHERE datname = current_database()",
    "databases": "SELECT datname, datacl::text, datconnlimit FROM pg_database"
    " WHERE datname !~ '^berth_'",
    "settings": "SELECT setdatabase <> 0, setrole, setconfig FROM pg_db_role_setting"
    " WHERE setdatabase = 0 OR setdatabase ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())",
    "roles": "SELECT r::text FROM pg_authid r",
    "members": "SELECT m::text FROM pg_auth_members m",
    "comments": "SELECT d.classoid, d.description"
    " FROM pg_shdescription d LEFT JOIN pg_database b"
    " ON b.oid = d.objoid AND d.classoid = 'pg_database'::regclass"
    " WHERE coalesce(b.datname, '') !~ '^berth_' OR b.datname = current_database()",
    "dependencies": "SELECT classid, objid, objsubid, refclassid, refobjid, deptype"
    " FROM pg_shdepend WHERE classid <> 'pg_database'::regclass AND dbid IN"
    " (0, (SELECT oid FROM pg_database WHERE datname = current_database()))",
    "tablespaces": "SELECT t::text FROM pg_tablespace t",
    "slots": "SELECT slot_name, plugin, slot_type, database = current_database()"
    " FROM pg_replication_slots WHERE NOT temporary",
    "origins": "SELECT o::text FROM pg_replication_origin o",
    "progress": "SELECT external_id, remote_lsn FROM pg_replication_origin_status",
    "subscriptions": "SELECT subname, subenabled FROM pg_subscription WHERE subdbid ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())",
    "prepared": "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()",
    "configuration": "SELECT name, setting FROM pg_file_settings"
    " WHERE sourcefile LIKE '%postgresql.auto.conf'",
    "in force": "SELECT name, setting FROM pg_settings WHERE source = 'configuration file'",
}
PARAMETERS = "SELECT p::text FROM pg_parameter_acl p"
_SUMMED = "SELECT count(*), sum(hashtextextended(row::text, 0))::text, '{name}' FROM ({query}) row"


def read(dsn: str, *, whole: bool = False) -> State:
    """Return the state, by the name of the catalog, relation or view.

    Args:
        dsn: The database's.
        whole: Whether every row is returned; else how many there are, and a sum of their hashes.
    """
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET search_path = pg_catalog")
        queries = dict(_queries(conn))
        state = {
            name: conn.execute(text.encode()).fetchall() for name, text in _relations(conn) if text
        }
        if whole:
            for name, query in queries.items():
                found = conn.execute(f"{HIDDEN} SELECT row::text FROM ({query}) row".encode())
                state[name] = sorted(text for (text,) in found)
        else:
            parts = [_SUMMED.format(name=name, query=query) for name, query in queries.items()]
            text = f"{HIDDEN} {' UNION ALL '.join(parts)}"
            state |= {name: found for *found, name in conn.execute(text.encode()).fetchall()}
    return state


def differences(before: State, after: State) -> list[str]:
    """Return the rows that only one of two whole states has."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = (set(map(str, state.get(name, ()))) for state in (before, after))
        found += [f"{name}: - {each}" for each in sorted(old - new)]
        found += [f"{name}: + {each}" for each in sorted(new - old)]
    return found


def _queries(conn: Connection) -> Iterator[tuple[str, str]]:
    columns: dict[str, list[tuple[str, bool]]] = {}
    for catalog, column, is_oid in conn.execute(COLUMNS, [LEFT_OUT]).fetchall():
        columns.setdefault(catalog, []).append((column, is_oid))
    for catalog, found in columns.items():
        shown = [f'c."{n}"' for n, _ in found if n not in VOLATILE.get(catalog, "").split()]
        seen = [f'c."{n}" NOT IN (SELECT h.oid FROM hidden h)' for n, is_oid in found if is_oid]
        where = " AND ".join(seen) or "true"
        yield catalog, f"SELECT {', '.join(shown)} FROM {catalog} c WHERE {where}"
    yield from SERVER.items()
    if conn.info.server_version >= 150000:
        yield "parameters", PARAMETERS
    yield "large objects", "SELECT loid, pageno, md5(data) FROM pg_largeobject"


def _relations(conn: Connection) -> Iterator[tuple[str, str]]:
    for schema, name, kind, populated in conn.execute(RELATIONS).fetchall():
        columns = "last_value, is_called" if kind == "S" else "t::text"
        query = sql.SQL("SELECT {} FROM ONLY {} t ORDER BY 1").format(
            sql.SQL(columns), sql.Identifier(schema, name)
        )
        yield f"{schema}.{name}", query.as_string(conn) if populated else "SELECT 'not populated'"
