"""Copies what one database holds into a clone of its template, whoever is connected to it.

Rows are read by COPY on a connection that sees them, which may be that of a rolled-back test: then
nobody else sees them yet. What is read there is read within a savepoint, and leaves no trace.
Neither views, functions nor constraints are copied: they are the template's. A table that a test
has made or altered is copied without its constraints and indexes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_BEGIN = b"""
SAVEPOINT berth_copy;
SET LOCAL SESSION AUTHORIZATION DEFAULT;
SET LOCAL ROLE NONE;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';
SET LOCAL row_security = off;
SET LOCAL extra_float_digits = 1;
SET LOCAL DateStyle = 'ISO';
SET LOCAL IntervalStyle = 'postgres';
SET LOCAL search_path = pg_catalog
"""
_END = b"ROLLBACK TO SAVEPOINT berth_copy; RELEASE SAVEPOINT berth_copy"
_TABLES = """
SELECT n.nspname, c.relname, c.relkind = 'p',
    coalesce(pg_catalog.string_agg(pg_catalog.quote_ident(a.attname) || ' '
    || pg_catalog.format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
    FILTER (WHERE a.attgenerated = ''), ''),
    coalesce(pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FILTER (WHERE a.attgenerated = ''), '')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.oid >= 16384
AND n.nspname <> 'information_schema'
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
)
GROUP BY c.oid, n.nspname, c.relname, c.relkind ORDER BY c.oid
"""
_SEQUENCES = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND c.oid >= 16384
"""
_LARGE_OBJECTS = "SELECT oid::int8 FROM pg_catalog.pg_largeobject_metadata"
_CONTENT = "SELECT pg_catalog.encode(pg_catalog.lo_get({}), 'hex')"
_FOREIGN_KEYS = """
SELECT n.nspname, c.relname, f.conname FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0
"""


class Reader(Protocol):
    """A connection, in a transaction, that sees what is to be copied."""

    def run(self, statements: bytes) -> None:
        """Execute statements."""

    def fetch(self, query: str | sql.Composed) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""

    def copy_out(self, statement: sql.Composed) -> Iterable[bytes]:
        """Yield what COPY TO gives."""


class Table(NamedTuple):
    """A table, as it is to be copied."""

    schema: str
    name: str
    is_partitioned: bool
    definition: str
    columns: str

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted, qualified name."""
        return sql.Identifier(self.schema, self.name)


class OtherConnection:
    """Reads what is committed, at one moment, by a connection of its own."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def run(self, statements: bytes) -> None:
        """Execute statements."""
        self._connection.execute(statements)

    def fetch(self, query: str | sql.Composed) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._connection.execute(_plain(query)).fetchall()

    def copy_out(self, statement: sql.Composed) -> Iterator[bytes]:
        """Yield what COPY TO gives."""
        with self._connection.cursor().copy(statement) as copy:
            for part in copy:
                yield bytes(part)


def copy(reader: Reader, target: psycopg.Connection[Any]) -> str:
    """Make a clone of the template hold what *reader* sees.

    Args:
        reader: What to read from; it is in the same transaction afterwards, with the same rights.
        target: A connection to the clone, in autocommit mode.

    Returns:
        What is not as it was, for people; empty where all is.
    """
    with _reading(reader), target.transaction():
        notes = _let_in(target)
        tables = [Table(*row) for row in reader.fetch(_TABLES)]
        there = {each[:2]: each for each in _tables(target)}
        altered = _make_alike(target, tables, there)
        _empty(target, [each for each in tables if each not in altered])
        for table in tables:
            if not table.is_partitioned and table.columns:
                _copy_table(reader, target, table)
        _set_sequences(reader, target)
        _copy_large_objects(reader, target)
    if altered:
        notes.append(
            f"without constraints and indexes, as the test made or altered them:"
            f" {', '.join(f'{each.schema}.{each.name}' for each in altered)}"
        )
    return "; ".join(notes)


@contextmanager
def _reading(reader: Reader) -> Iterator[None]:
    try:
        reader.run(_BEGIN)
        yield
    finally:
        reader.run(_END)


def _tables(target: psycopg.Connection[Any]) -> list[Table]:
    """Return the clone's tables, their types written as the reader writes them."""
    target.execute("SET LOCAL search_path = pg_catalog")
    found = [Table(*row) for row in target.execute(_TABLES.encode()).fetchall()]
    target.execute("SET LOCAL search_path TO DEFAULT")
    return found


def _let_in(target: psycopg.Connection[Any]) -> list[str]:
    """Let rows in, in whichever order; return what that has cost."""
    try:
        with target.transaction():
            target.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        for schema, relation, name in target.execute(_FOREIGN_KEYS.encode()).fetchall():
            _execute(target, "ALTER TABLE {} DROP CONSTRAINT {}", (schema, relation), (name,))
        for table in _tables(target):
            _execute(target, "ALTER TABLE {} DISABLE TRIGGER USER", table[:2])
        return ["without its foreign keys, as the role is no superuser"]
    return []


def _make_alike(
    target: psycopg.Connection[Any], tables: Sequence[Table], there: dict[tuple[str, str], Table]
) -> list[Table]:
    """Drop tables that are gone, and make those that are new; return the latter."""
    wanted = {each[:2]: each for each in tables}
    other = [each for key, each in there.items() if wanted.get(key) != each]
    for table in other:
        _execute(target, "DROP TABLE IF EXISTS {} CASCADE", table[:2])
    new = [each for key, each in wanted.items() if there.get(key) != each]
    for table in new:
        _execute(target, "CREATE SCHEMA IF NOT EXISTS {}", table[:1])
        _define(target, table)
    return new


def _define(target: psycopg.Connection[Any], table: Table) -> None:
    columns = sql.SQL(table.definition)  # quoted by the server
    statement = sql.SQL("CREATE TABLE {} ({})")
    try:
        with target.transaction():
            target.execute(statement.format(table.identifier, columns))
    except psycopg.errors.UndefinedObject:  # of a type that the test has made
        names = sql.SQL(table.columns.replace(", ", " text, ") + " text")
        target.execute(statement.format(table.identifier, names))


def _empty(target: psycopg.Connection[Any], tables: Sequence[Table]) -> None:
    if tables:
        names = sql.SQL(", ").join(each.identifier for each in tables)
        target.execute(sql.SQL("TRUNCATE {}").format(names))


def _copy_table(reader: Reader, target: psycopg.Connection[Any], table: Table) -> None:
    columns = sql.SQL(table.columns)  # quoted by the server
    statement = "COPY {} ({}) {} WITH (ENCODING 'UTF8')"
    out = sql.SQL(statement).format(table.identifier, columns, sql.SQL("TO STDOUT"))
    into = sql.SQL(statement).format(table.identifier, columns, sql.SQL("FROM STDIN"))
    with target.cursor().copy(into) as written:
        for part in reader.copy_out(out):
            written.write(part)


def _set_sequences(reader: Reader, target: psycopg.Connection[Any]) -> None:
    there = set(target.execute(_SEQUENCES.encode()).fetchall())
    for schema, name in reader.fetch(_SEQUENCES):
        if (schema, name) in there:
            found = sql.Identifier(schema, name)
            query = sql.SQL("SELECT last_value, is_called FROM {}").format(found)
            [(last, called)] = reader.fetch(query)
            place = found.as_string(target)
            target.execute("SELECT pg_catalog.setval(%s::regclass, %s, %s)", [place, last, called])


def _copy_large_objects(reader: Reader, target: psycopg.Connection[Any]) -> None:
    target.execute(f"SELECT pg_catalog.lo_unlink(oid) FROM ({_LARGE_OBJECTS}) l (oid)".encode())
    for (oid,) in reader.fetch(_LARGE_OBJECTS):
        [(content,)] = reader.fetch(sql.SQL(_CONTENT).format(sql.Literal(oid)))
        target.execute("SELECT pg_catalog.lo_from_bytea(%s, %s)", [oid, bytes.fromhex(content)])


def _execute(target: psycopg.Connection[Any], statement: str, *names: Sequence[str]) -> None:
    text = sql.SQL(statement)  # literals, all of them
    target.execute(text.format(*(sql.Identifier(*each) for each in names)))


def _plain(query: str | sql.Composed) -> bytes | sql.Composed:
    return query.encode() if isinstance(query, str) else query
