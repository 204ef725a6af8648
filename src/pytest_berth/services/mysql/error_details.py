"""Tells what the server knows of an error: the row in the way, the nearest name, open locks."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

import pymysql
from pymysql.constants import ER

from pytest_berth.errors import causes
from pytest_berth.isolation import recorder
from pytest_berth.services.mysql import changed_rows, open_transactions
from pytest_berth.services.mysql.connections import quoted
from pytest_berth.shown_values import MASK, is_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

    from pytest_berth.services.mysql.connections import Ask
    from pytest_berth.services.mysql.contents import Rows

_DUPLICATE = re.compile(r"Duplicate entry '(?P<entry>.*)' for key '(?P<key>.*?)'$", re.DOTALL)
_NO_TABLE = re.compile(r"Table '(?P<database>.*?)\.(?P<name>.*?)' doesn't exist")
_NO_COLUMN = re.compile(r"Unknown column '(?P<name>.*?)' in")
_NO_PARENT = re.compile(
    r"FOREIGN KEY \((?P<columns>.*?)\) REFERENCES `(?P<table>.*?)` \((?P<keys>.*?)\)"
)
_WRITES = re.compile(r"\b(?:INTO|UPDATE)\s+(?:`[^`]+`\.)?`?(?P<table>[^\s`(.]+)", re.IGNORECASE)
_INDEX = """
SELECT table_name, column_name FROM information_schema.statistics
WHERE table_schema = DATABASE() AND index_name = {key} ORDER BY table_name = {table} DESC,
  table_name, seq_in_index
"""
_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
_COLUMNS = """
SELECT DISTINCT column_name FROM information_schema.columns WHERE table_schema = DATABASE()
"""
_MOST = 3


class Failed(NamedTuple):
    """An error of the server's.

    Attributes:
        code: Its number.
        message: What the server says.
        statement: The statement, as far as it is known.
    """

    code: int
    message: str
    statement: str


def find(item: pytest.Item, error: BaseException) -> Failed | None:
    """Return the server's error that an error comes from; None where the server raised none."""
    for each in causes(error):
        inner = getattr(each, "orig", None)
        own = inner if isinstance(inner, pymysql.MySQLError) else each
        if isinstance(own, pymysql.MySQLError) and len(own.args) > 1:
            statement = getattr(each, "statement", "") or _last_failed(item)
            return Failed(int(own.args[0]), str(own.args[1]), str(statement))
    return None


def lines(ask: Ask, failed: Failed, before: Mapping[str, Rows]) -> Sequence[str]:
    """Return lines on an error; none where there is nothing to be told.

    Args:
        ask: Sees what the test has written.
        failed: The error.
        before: What each table held before the test.
    """
    part = _PARTS.get(failed.code)
    return part(ask, failed, before) if part else ()


def masked(failed: Failed) -> Mapping[str, str]:
    """Return what an error's message tells of secrets, and what to show instead."""
    found = _DUPLICATE.search(failed.message)
    return {found["entry"]: MASK} if found and found["entry"] and is_secret(found["key"]) else {}


def _last_failed(item: pytest.Item) -> str:
    found = recorder.of(item.config)
    failed = [each.text for each in (found.records("mysql") if found else []) if each.error]
    return failed[-1] if failed else ""


def _of_duplicate(ask: Ask, failed: Failed, before: Mapping[str, Rows]) -> list[str]:
    found = _DUPLICATE.search(failed.message)
    if not found:
        return []
    # MySQL names the table, too; MariaDB the key only.
    table, _, key = found["key"].rpartition(".")
    written = _WRITES.search(failed.statement)
    table = table or (written["table"] if written else "")
    index = ask(_INDEX.format(key=_text(key), table=_text(table)))
    if not index:
        return []
    table = index[0][0]
    columns = [column for of, column in index if of == table]
    # As the server has made the text of the message.
    has_key = f"CONCAT_WS('-', {', '.join(map(quoted, columns))}) = {_text(found['entry'])}"
    rows = ask(f"SELECT * FROM {quoted(table)} WHERE {has_key} LIMIT 1")
    unique = f"unique: {key} on {table} ({', '.join(columns)})"
    if not rows:
        return [unique, "no row has it now: it was of the same statement, or was rolled back"]
    copy = before[table].copy if table in before else ""
    was_there = copy and ask(f"SELECT 1 FROM {copy} WHERE {has_key} LIMIT 1")
    by = "there before the test" if was_there else "written by this test, or its fixtures"
    names = [
        name
        for (name,) in ask(
            f"SELECT column_name FROM information_schema.columns WHERE"
            f" table_schema = DATABASE() AND table_name = {_text(table)} ORDER BY ordinal_position"
        )
    ]
    return [unique, f"in the way: {changed_rows.row(names, rows[0])} ({by})"]


def _of_parent(ask: Ask, failed: Failed, before: Mapping[str, Rows]) -> list[str]:
    found = _NO_PARENT.search(failed.message)
    if not found:
        return []
    table, keys, columns = quoted(found["table"]), found["keys"], found["columns"].replace("`", "")
    ((count,),) = ask(f"SELECT COUNT(*) FROM {table}")
    if not count:
        return [f"{found['table']} is empty: no row can refer to it by {columns}"]
    rows = ask(f"SELECT {keys} FROM {table} ORDER BY {keys} LIMIT {_MOST}")
    names = [name.strip(" `") for name in keys.split(",")]
    shown = "; ".join(changed_rows.row(names, each) for each in rows)
    more = f" and {count - _MOST} more" if count > _MOST else ""
    return [f"{columns} refers to a row of {found['table']}, which has {shown}{more}"]


def _of_table(ask: Ask, failed: Failed, before: Mapping[str, Rows]) -> list[str]:
    found = _NO_TABLE.search(failed.message)
    return _nearest(found["name"], ask(_TABLES), "table") if found else []


def _of_column(ask: Ask, failed: Failed, before: Mapping[str, Rows]) -> list[str]:
    found = _NO_COLUMN.search(failed.message)
    name = found["name"].rpartition(".")[2] if found else ""
    return _nearest(name, ask(_COLUMNS), "column") if found else []


def _nearest(name: str, rows: Sequence[Sequence[Any]], kind: str) -> list[str]:
    names = [str(each) for (each,) in rows]
    close = get_close_matches(name, names, n=_MOST)
    if close:
        return [f"nearest {kind}s: {', '.join(close)}"]
    if not names:
        return ["the database has no tables: berth_mysql_schema says what makes them"]
    listed = ", ".join(sorted(names)[: 3 * _MOST])
    return [f"{kind}s that are there: {listed}{', ...' if len(names) > 3 * _MOST else ''}"]


def _of_lock(ask: Ask, failed: Failed, before: Mapping[str, Rows]) -> list[str]:
    return list(open_transactions.lines(ask))


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


_PARTS: Mapping[int, Callable[[Ask, Failed, Mapping[str, Rows]], list[str]]] = {
    ER.DUP_ENTRY: _of_duplicate,
    ER.NO_REFERENCED_ROW_2: _of_parent,
    ER.NO_SUCH_TABLE: _of_table,
    ER.BAD_FIELD_ERROR: _of_column,
    ER.LOCK_WAIT_TIMEOUT: _of_lock,
}
