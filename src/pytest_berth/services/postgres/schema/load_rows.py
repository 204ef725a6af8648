"""Writes rows into tables: those that others refer to first, CSV files by COPY."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import SchemaError
from pytest_berth.schema.table_rows import alike, as_json, in_order, no_table, require_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import psycopg
    from psycopg import sql

    from pytest_berth.schema.steps import Target
    from pytest_berth.schema.table_rows import Table

_MARK = b"\xef\xbb\xbf"
_CHUNK = 1 << 18
_LINE = re.compile(r"^COPY .*?, line (\d+)")
_TABLES = """
    SELECT relname FROM pg_catalog.pg_class
    WHERE relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(oid)
"""
_COLUMNS = """
    SELECT attname, pg_catalog.pg_get_serial_sequence(%(name)s, attname)
    FROM pg_catalog.pg_attribute
    WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped
"""
_REFERENCES = """
    SELECT conrelid, confrelid FROM pg_catalog.pg_constraint
    WHERE contype = 'f' AND conrelid = ANY(%(oids)s) AND confrelid = ANY(%(oids)s)
    AND conrelid <> confrelid
"""
# A sequence goes on behind the rows, and never back.
_ADVANCE = """
    SELECT pg_catalog.setval({name}, highest)
    FROM (SELECT max({column})::bigint AS highest FROM {table}) AS found, {sequence} AS state
    WHERE highest >= state.last_value
"""
_NAMING = (
    "a file of rows is called as its table, with the schema before it where that is not in the"
    " search path: billing.invoices.csv"
)
_REMEDIES = {
    "23503": "seed the row that it refers to as well; where tables refer to each other in a circle,"
    " let one of the constraints be DEFERRABLE INITIALLY DEFERRED",
}


@dataclass(frozen=True)
class _Known:
    """A table as the server knows it."""

    rows: Table
    oid: int
    name: sql.Composable
    sequences: Mapping[str, str]


def load_alone(rows: Sequence[Table], target: Target) -> None:
    """Write rows on a connection of its own, and commit them.

    Raises:
        SchemaError: There is no such table or column, or the server refuses a value.
    """
    import psycopg

    try:
        connection = psycopg.connect(target.dsn)
    except psycopg.OperationalError as error:
        why = target.redact(str(error))
        raise SchemaError("the rows could not be written: no connection.", why=why) from error
    with connection:
        load(connection, rows)
        with _explained(rows[0]):  # of constraints that are looked at now
            connection.commit()


def load(connection: psycopg.Connection[Any], rows: Sequence[Table]) -> None:
    """Write rows inside the open transaction of *connection*.

    Raises:
        SchemaError: There is no such table or column, or the server refuses a value.
    """
    known = [_look_up(connection, each) for each in rows]
    for each in _in_order(connection, known):
        with _explained(each.rows):
            if each.rows.path:
                _copy(connection, each, each.rows.path)
            else:
                _insert(connection, each)
            _advance(connection, each)


def _look_up(connection: psycopg.Connection[Any], rows: Table) -> _Known:
    from psycopg import sql

    name = sql.Identifier(*rows.name.split("."))
    shown = name.as_string(connection)
    with connection.cursor(row_factory=_tuples()) as cursor:
        cursor.execute("SELECT pg_catalog.to_regclass(%s)::oid", [shown])
        (oid,) = cursor.fetchone() or (None,)
        if oid is None:
            there = [found for (found,) in cursor.execute(_TABLES)]
            raise no_table(rows, there, _NAMING, "pg")
        columns = dict(cursor.execute(_COLUMNS, {"name": shown, "oid": oid}).fetchall())
    require_columns(rows, columns)
    sequences = {name: columns[name] for name in rows.columns if columns[name]}
    return _Known(rows, oid, name, sequences)


def _in_order(connection: psycopg.Connection[Any], known: Sequence[_Known]) -> Iterable[_Known]:
    """Return tables such that each comes after those that it refers to; else as they are given."""
    refers: dict[int, set[int]] = {each.oid: set() for each in known}
    with connection.cursor(row_factory=_tuples()) as cursor:
        for table, other in cursor.execute(_REFERENCES, {"oids": list(refers)}):
            refers[table].add(other)
    return in_order(known, refers, lambda each: each.oid)


def _copy(connection: psycopg.Connection[Any], table: _Known, path: Path) -> None:
    from psycopg import sql

    statement = sql.SQL(
        "COPY {} ({}) FROM STDIN WITH (FORMAT csv, HEADER true, ENCODING 'UTF8')"
    ).format(table.name, _names(table.rows.columns))
    with connection.cursor() as cursor, cursor.copy(statement) as copy, path.open("rb") as file:
        if file.read(len(_MARK)) != _MARK:
            file.seek(0)
        while chunk := file.read(_CHUNK):
            copy.write(chunk)


def _insert(connection: psycopg.Connection[Any], table: _Known) -> None:
    """Insert rows; those with the same columns at once, as others have their defaults."""
    from psycopg import sql

    for columns, rows in alike(table.rows.rows).items():
        if not columns:
            insert = sql.SQL("INSERT INTO {} DEFAULT VALUES").format(table.name)
            for _ in rows:
                connection.execute(insert)
            continue
        statement = sql.SQL(
            "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE"
            " SELECT {names} FROM pg_catalog.json_populate_recordset(NULL::{table}, %s::json)"
        ).format(table=table.name, names=_names(columns))
        connection.execute(statement, [as_json([dict(row) for row in rows])])


def _advance(connection: psycopg.Connection[Any], table: _Known) -> None:
    """Let the sequences of columns go on behind the values that rows have brought."""
    from psycopg import sql

    for column, sequence in table.sequences.items():
        statement = sql.SQL(_ADVANCE).format(
            name=sql.Literal(sequence),
            column=sql.Identifier(column),
            table=table.name,
            sequence=sql.SQL(sequence),  # as the server has quoted it
        )
        connection.execute(statement)


def _names(columns: Iterable[str]) -> sql.Composable:
    from psycopg import sql

    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _tuples() -> Any:
    from psycopg.rows import tuple_row

    return tuple_row


@contextmanager
def _explained(rows: Table) -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        diag = error.diag
        line = _LINE.match(diag.context or "") if rows.path else None
        place = f"{rows.source}:{line[1]}" if line else rows.source
        message = diag.message_primary or str(error)
        why = [f"the table is {rows.name!r}", diag.message_detail, diag.context if line else ""]
        raise SchemaError(
            f"{place} failed: {message}",
            why="\n".join(filter(None, why)),
            remedy=_REMEDIES.get(error.sqlstate or "", ""),
        ) from error
