"""What tests can break in a worker's databases and on the server, for ``--berth-audit``.

It is read on a connection of its own, which ends with it. Tables that somebody has locked against
reading are left out, so that nothing is waited for: the lock is told of.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres import server_objects
from pytest_berth.services.postgres.restore import catalog, contents, large_objects
from pytest_berth.services.postgres.restore import schema_fingerprint as fingerprint
from pytest_berth.services.postgres.restore.transactions import BATCH, Connection, rows, union_all
from pytest_berth.services.postgres.server import connections
from pytest_berth.shown_values import MASK, is_secret, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pytest_berth.api import Server
    from pytest_berth.services.postgres.restore.catalog import Relation

Found = dict[str, "str | None"]

# Of larger tables only the digest of all rows is compared.
_MOST_ROWS, _KEY_LENGTH = 200, 60
# Values are read as text: no setting of a role or database may change how they are written.
_SETTINGS = """
SET statement_timeout = '30s'; SET lock_timeout = '1s'; SET idle_in_transaction_session_timeout = 0;
SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres';
SET bytea_output = 'hex'; SET extra_float_digits = 1; SET row_security = off;
SET default_transaction_read_only = on
"""
_KEYS = """
SELECT i.indrelid::int8, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indisprimary GROUP BY 1
"""
_ROWS = """
SELECT {name}, count(*), coalesce(sum(pg_catalog.hashtextextended(t::text, 0)), 0)::text, {parts}
FROM ONLY {table} t
"""
_PARTS = """ARRAY(
    SELECT pg_catalog.left({key}, {length}) || chr(9) || pg_catalog.hashtextextended(p::text, 0)
    FROM ONLY {table} p LIMIT {most}
)"""
_NONE = "'{}'::text[]"
_OTHERS = f"""
a.datname = current_database() AND a.pid <> pg_catalog.pg_backend_pid()
AND coalesce(a.backend_type, 'client backend') = 'client backend'
AND a.application_name <> '{connections.APPLICATION}'
"""
_LOCKS = f"""
SELECT CASE WHEN l.locktype = 'relation' THEN l.relation::regclass::text
    ELSE pg_catalog.format('advisory lock %s, %s', l.classid, l.objid) END,
    l.mode, a.pid, a.application_name, a.state, coalesce(l.relation, 0)::int8
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.granted AND {_OTHERS} AND l.database = a.datid AND (
    l.locktype = 'advisory' OR l.locktype = 'relation' AND l.relation >= {catalog.FIRST_USER_OID}
)
ORDER BY 1, 2, 3
"""
_CONNECTIONS = f"""
SELECT a.pid, a.application_name, coalesce(a.state, '') FROM pg_catalog.pg_stat_activity a
WHERE {_OTHERS}
"""
_IN_DATABASE = f"""
SELECT pg_catalog.format('prepared transaction %L', gid), 'open' FROM pg_catalog.pg_prepared_xacts
WHERE database = current_database()
UNION ALL SELECT pg_catalog.format('connections to %I', datname),
    pg_catalog.format('allowed: %s, limit: %s, rights: %s', datallowconn, datconnlimit, datacl)
FROM pg_catalog.pg_database WHERE datname = current_database()
UNION ALL SELECT pg_catalog.format('setting of the database %s', s.given), ''
FROM pg_catalog.pg_db_role_setting d, pg_catalog.unnest(d.setconfig) s(given)
WHERE d.setdatabase = {fingerprint.DATABASE}
"""
_IDLE = "idle"
_HOLDS_OFF_READERS = "AccessExclusiveLock"
_PART_OF = re.compile(
    r"(?P<name>.+) (?:of|on) (?P<relation>"
    r"(?:table|foreign table|view|materialized view|index|sequence|composite type) .+)"
)
# What berth itself puts into a database, when the first test needs it.
_OURS = ("information_schema.berth_", "event trigger berth_ddl", "function berth_ddl")
_SHOWN_KINDS = {"setting", "properties of", "rights to"}
# Oids, which say nothing: what depends on a role is told with the role.
_PASSED_OVER = "dependency of"


def of_database(server: Server, database: str, idle: Callable[[str], Collection[int]]) -> Found:
    """Return what a database holds, what is locked in it, and who is connected to it.

    Args:
        server: The server.
        database: The database's name.
        idle: Returns the process ids of the connections to a database that this process has, and
            that nobody uses; it looks through all objects, and is only asked where some are idle.
    """
    with closing(_connected(server, database)) as connection:
        locked, locks = _locks(connection)
        found: Found = {**locks, **_connections(connection, lambda: idle(database))}
        relations = catalog.read(connection, replica=False)
        keys: dict[int, list[str]] = dict(rows(connection, _KEYS))
        views = [each for each in relations.views if each.oid in _populated(connection)]
        found |= dict(_rows(connection, [*relations.tables, *views], keys, locked))
        free = [each for each in relations.sequences if each.oid not in locked]
        for oid, state in contents.read_sequences(connection, free).items():
            (name,) = (str(each) for each in free if each.oid == oid)
            found[f"sequence {name}"] = f"at {state.last}" + ("" if state.called else ", unused")
        found |= {f"sequence {each}": None for each in relations.sequences if each.oid in locked}
        found |= {f"schema: {name}": text for name, text in _schema(connection)}
        for oid, lob in large_objects.read(connection).items():
            found[f"large object {oid}"] = f"\t{lob}"
        return found | dict(rows(connection, _IN_DATABASE))


def of_server(server: Server) -> Found:
    """Return roles, settings of the server and of roles, tablespaces, slots, foreign databases."""
    texts: dict[tuple[str, str], list[str]] = {}
    with closing(_connected(server, server.credentials.database)) as connection:
        query = server_objects.query(connection.info.server_version)
        for kind, name, text in rows(connection, query):
            if kind != _PASSED_OVER:
                texts.setdefault((kind, name), []).append(text)
    return {
        f"{kind} {name}": shown(found[0], name=name)
        if kind in _SHOWN_KINDS and not is_secret(name)
        else f"\t{_digest(found)}"
        for (kind, name), found in texts.items()
    }


def _connected(server: Server, database: str) -> Connection:
    connection = connections.named(server, database)
    connection.execute(_SETTINGS.encode())
    return connection


def _locks(connection: Connection) -> tuple[set[int], Found]:
    """Return the relations that cannot be read, and all locks of others."""
    locked, found = set[int](), Found()
    for what, mode, pid, application, state, oid in rows(connection, _LOCKS):
        if mode == _HOLDS_OFF_READERS and oid:
            locked.add(oid)
        found[f"{mode} on {what}"] = f"held by pid {pid}, application {application!r}, {state}"
    return locked, found


def _connections(connection: Connection, idle: Callable[[], Collection[int]]) -> Found:
    listed = rows(connection, _CONNECTIONS)
    unused = idle() if any(state == _IDLE for _, _, state in listed) else ()
    counted = Counter(
        f"connection of {application!r}, {state}"
        for pid, application, state in listed
        if not (state == _IDLE and pid in unused)
    )
    return {name: f"{count} of them" for name, count in counted.items()}


def _populated(connection: Connection) -> set[int]:
    query = "SELECT oid::int8 FROM pg_catalog.pg_class WHERE relkind = 'm' AND relispopulated"
    return {oid for (oid,) in rows(connection, query)}


def _rows(
    connection: Connection,
    tables: Sequence[Relation],
    keys: Mapping[int, Sequence[str]],
    locked: Collection[int],
) -> Iterator[tuple[str, str | None]]:
    """Yield the rows of each table: how many, and which, by their primary keys."""
    yield from ((f"rows of {each}", None) for each in tables if each.oid in locked)
    free = [each for each in tables if each.oid not in locked]
    for start in range(0, len(free), BATCH):
        batch = [_rows_of(each, keys.get(each.oid, ())) for each in free[start : start + BATCH]]
        for name, count, digest, parts in rows(connection, union_all(batch)):
            head = f"{count} {'row' if count == 1 else 'rows'}\t{digest}"
            some = parts if count <= _MOST_ROWS else ()
            yield f"rows of {name}", "\n".join([head, *(each.replace("\n", " ") for each in some)])


def _rows_of(table: Relation, key: Sequence[str]) -> sql.Composed:
    parts: sql.Composable = sql.SQL(_NONE)
    if key:
        parts = sql.SQL(_PARTS).format(
            key=sql.SQL(" || ', ' || ").join(map(_shown_column, key)),
            length=sql.Literal(_KEY_LENGTH),
            table=table.identifier,
            most=sql.Literal(_MOST_ROWS + 1),
        )
    return sql.SQL(_ROWS).format(name=sql.Literal(str(table)), parts=parts, table=table.identifier)


def _shown_column(name: str) -> sql.Composable:
    """Return the expression for a column of a key and its value, which is no secret."""
    if is_secret(name):
        return sql.Literal(f"{name}={MASK}")
    value = sql.Identifier("p", name)
    return sql.SQL("{} || {}::text").format(sql.Literal(f"{name}="), value)


def _schema(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield each object of the schema; columns, constraints and triggers are a relation's parts."""
    digests = {
        name: digest
        for name, digest in fingerprint.objects(connection)
        if not any(ours in name for ours in _OURS)
    }
    parts: dict[str, list[str]] = {}
    for name, digest in sorted(digests.items()):
        part = _PART_OF.fullmatch(name)
        if part and part["relation"] in digests:
            parts.setdefault(part["relation"], []).append(f"{part['name']}\t{digest}")
        else:
            parts.setdefault(name, [])
    for name, own in parts.items():
        yield name, "\n".join([f"\t{digests[name]}", *own])


def _digest(texts: Sequence[str]) -> str:
    """Return a digest in place of texts that may have passwords in them."""
    return sha256("\n".join(sorted(texts)).encode()).hexdigest()
