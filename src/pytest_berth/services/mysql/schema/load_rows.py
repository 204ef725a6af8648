"""Writes rows into tables of MySQL and MariaDB: those that others refer to first, many at once."""

from __future__ import annotations

import datetime
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pymysql

from pytest_berth.errors import SchemaError
from pytest_berth.schema import csv_rows
from pytest_berth.schema.table_rows import alike, as_json, in_order, no_table, require_columns
from pytest_berth.services.mysql import connections, urls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_berth.schema.steps import Target
    from pytest_berth.schema.table_rows import Table
    from pytest_berth.services.mysql.connections import Connection

# A statement has as many rows, or about as many characters, whichever comes first.
_MOST_ROWS = 500
_MOST_TEXT = 1 << 20
_AT_ROW = re.compile(r"\bat row (\d+)\b")
_TRUTH = {"true": 1, "t": 1, "yes": 1, "on": 1, "false": 0, "f": 0, "no": 0, "off": 0}
_NAMING = "a file of rows is called as its table"
_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
_COLUMNS = """
    SELECT column_name, column_type FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = %s
"""
_REFERENCES = """
    SELECT constraint_name, table_name, column_name, referenced_table_name, referenced_column_name
    FROM information_schema.key_column_usage
    WHERE table_schema = DATABASE() AND referenced_table_schema = DATABASE()
    ORDER BY constraint_name, ordinal_position
"""
# A zero is a value like any other, not a call for the next number.
_ZEROS = "SET SESSION sql_mode = CONCAT_WS(',', @@sql_mode, 'NO_AUTO_VALUE_ON_ZERO')"
# A row may refer to one that comes later: what all refer to is looked at in the end.
_UNCHECKED = "SET SESSION foreign_key_checks = 0"


class _Reference(NamedTuple):
    """A foreign key: columns of a table, and those of the table that it refers to."""

    name: str
    table: str
    columns: list[str]
    other: str
    others: list[str]


class _Batch(NamedTuple):
    """Rows that are sent at once; the line of each in its file, where they are of one."""

    columns: tuple[str, ...]
    values: list[Sequence[object]]
    lines: list[int]


def load(rows: Sequence[Table], target: Target) -> None:
    """Write rows on a connection of their own, and commit them.

    Raises:
        SchemaError: There is no such table or column, or the server refuses a value.
    """
    try:
        connection = connections.connect(*urls.of_database(target.dsn))
    except pymysql.Error as error:
        why = target.redact(str(error))
        raise SchemaError("the rows could not be written: no connection.", why=why) from error
    with connection:
        connection.send(_ZEROS)
        connection.send(_UNCHECKED)
        connection.begin()
        types = {each.name: _columns(connection, each) for each in rows}
        references = [each for each in _references(connection) if each.table in types]
        for each in _ordered(rows, references):
            for batch in _batches(each, types[each.name]):
                with _explained(each, batch):
                    _insert(connection, each.name, batch)
        for reference in references:
            _require_rows(connection, reference, rows)
        connection.commit()


def _columns(connection: Connection, rows: Table) -> Mapping[str, str]:
    """Return the types of a table's columns, by their names."""
    found = dict(connection.rows(_COLUMNS, [rows.name]))
    if not found:
        there = [name for (name,) in connection.rows(_TABLES)]
        raise no_table(rows, there, _NAMING, "mysql")
    require_columns(rows, found)
    return found


def _references(connection: Connection) -> Iterable[_Reference]:
    found: dict[tuple[str, str], _Reference] = {}
    for name, table, column, other, its_column in connection.rows(_REFERENCES):
        key = found.setdefault((name, table), _Reference(name, table, [], other, []))
        key.columns.append(column)
        key.others.append(its_column)
    return found.values()


def _ordered(rows: Sequence[Table], references: Iterable[_Reference]) -> Sequence[Table]:
    refers: dict[str, set[str]] = {each.name: set() for each in rows}
    for each in references:
        if each.other in refers and each.other != each.table:
            refers[each.table].add(each.other)
    return in_order(rows, refers, lambda each: each.name)


def _require_rows(connection: Connection, key: _Reference, rows: Sequence[Table]) -> None:
    """Look whether the rows are there that others refer to.

    Raises:
        SchemaError: One is not.
    """
    quoted = connections.quoted
    ours = [f"a.{quoted(each)}" for each in key.columns]
    theirs = [f"b.{quoted(each)}" for each in key.others]
    same = " AND ".join(f"{one} = {other}" for one, other in zip(ours, theirs, strict=True))
    found = connection.rows(
        f"SELECT {', '.join(ours)} FROM {quoted(key.table)} AS a"
        f" LEFT JOIN {quoted(key.other)} AS b ON {same}"
        f" WHERE {theirs[0]} IS NULL AND {' AND '.join(f'{each} IS NOT NULL' for each in ours)}"
        " LIMIT 1"
    )
    if found:
        source = next(each.source for each in rows if each.name == key.table)
        values = zip(key.columns, found[0], strict=True)
        raise SchemaError(
            f"{source} failed: a row refers to one that is not there.",
            why=f"{', '.join(f'{name} = {value!r}' for name, value in values)} is in no row of"
            f" {key.other!r}; the constraint is {key.name!r}",
            remedy="seed the row that it refers to as well",
        )


def _batches(table: Table, types: Mapping[str, str]) -> Iterator[_Batch]:
    if table.path:
        lines, values = _of_file(table, table.path, types)
        yield from _cut(table.columns, values, lines)
        return
    for columns, rows in alike(table.rows).items():
        yield from _cut(columns, [[*map(_plain, row.values())] for row in rows], [])


def _of_file(
    table: Table, path: Path, types: Mapping[str, str]
) -> tuple[list[int], list[Sequence[object]]]:
    """Return the numbers of a CSV file's lines, and the values of its rows."""
    content = path.read_bytes()
    try:
        found = [*csv_rows.rows(content.decode("utf-8-sig"))][1:]
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SchemaError(
            f"{table.source}:{line} is not UTF-8 text.", remedy="convert it, for instance by iconv"
        ) from error
    for line, row in found:
        if len(row) != len(table.columns):
            raise SchemaError(
                f"{table.source}:{line} has {len(row)} values for {len(table.columns)} columns.",
                why=f"the header is {','.join(table.columns)}",
                remedy="quote a value that has a comma in it",
            )
    truths = [types[name].startswith(("tinyint", "bit")) for name in table.columns]
    values: list[Sequence[object]] = [
        [_truth(value) if is_truth else value for value, is_truth in zip(row, truths, strict=True)]
        for _, row in found
    ]
    return [line for line, _ in found], values


def _cut(
    columns: tuple[str, ...], values: list[Sequence[object]], lines: list[int]
) -> Iterator[_Batch]:
    begin, size = 0, 0
    for number, row in enumerate(values):
        if number - begin == _MOST_ROWS or size > _MOST_TEXT:
            yield _Batch(columns, values[begin:number], lines[begin:number])
            begin, size = number, 0
        size += sum(len(value) for value in row if isinstance(value, (str, bytes)))
    if values:
        yield _Batch(columns, values[begin:], lines[begin:])


def _insert(connection: Connection, name: str, batch: _Batch) -> None:
    names = ", ".join(map(connections.quoted, batch.columns))
    places = f"({', '.join(['%s'] * len(batch.columns))})"
    statement = (
        f"INSERT INTO {connections.quoted(name)} ({names})".replace("%", "%%")
        + f" VALUES {', '.join([places] * len(batch.values))}"
    )
    connection.send(statement, [value for row in batch.values for value in row])


def _truth(value: str | None) -> object:
    if value is None:
        return None
    # As text, BIT would be given its characters.
    return int(value) if value.isdecimal() else _TRUTH.get(value.lower(), value)


def _plain(value: object) -> object:
    """Return a value of JSON, YAML or Python as the driver takes it."""
    if isinstance(value, (dict, list, tuple)):
        return as_json(value)
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.isoformat(" ")
    known = (bool, int, float, str, bytes, datetime.date, datetime.time, datetime.timedelta)
    return value if value is None or isinstance(value, known) else str(value)


@contextmanager
def _explained(rows: Table, batch: _Batch) -> Iterator[None]:
    try:
        yield
    except pymysql.Error as error:
        message = str(error.args[-1] if error.args else error)
        at = _AT_ROW.search(message)
        line = batch.lines[int(at[1]) - 1 : int(at[1])] if at else []
        place = f"{rows.source}:{line[0]}" if line else rows.source
        raise SchemaError(
            f"{place} failed: {message}", why=f"the table is {rows.name!r}"
        ) from error
