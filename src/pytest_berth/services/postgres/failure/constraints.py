"""Explains a violated constraint: its definition, the row in the way, the row that is missing."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.debug_log import debug
from pytest_berth.services.postgres.failure import asking, rolled_back, tables, values
from pytest_berth.services.postgres.failure.asking import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_berth.services.postgres.databases.worker_database import Held, IsolatedDatabase
    from pytest_berth.services.postgres.failure.asking import Asking, Row
    from pytest_berth.services.postgres.failure.server_error import ServerError
    from pytest_berth.services.postgres.failure.tables import Table

_MOST = 3
_KEY = re.compile(r"\((.+?)\)=\((.*)\)", re.DOTALL)
_EXISTING = re.compile(r"existing key \((.+?)\)=\((.*)\)", re.DOTALL)
_FAILING = re.compile(r"\((.*)\)", re.DOTALL)
# Each key of an index as an expression, in which names are qualified.
_INDEX = """
SELECT c.oid::text, pg_catalog.pg_get_indexdef(i.indexrelid, k, true),
    coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), '')
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid AND x.relname = {index}
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid AND c.relname = {table}
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = {schema}
CROSS JOIN generate_series(1, i.indnkeyatts) k
ORDER BY k
"""
_CONSTRAINT = """
SELECT f.conrelid::text, f.confrelid::text, pg_catalog.pg_get_constraintdef(f.oid, true),
    (SELECT string_agg(a.attname, ',' ORDER BY k.n)
        FROM unnest(f.conkey) WITH ORDINALITY k (num, n)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num),
    (SELECT string_agg(a.attname, ',' ORDER BY k.n)
        FROM unnest(f.confkey) WITH ORDINALITY k (num, n)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.num)
FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_namespace n ON n.oid = f.connamespace AND n.nspname = {schema}
WHERE f.conname = {name}
ORDER BY (
    SELECT c.relname = {table} FROM pg_catalog.pg_class c WHERE c.oid = f.conrelid
) DESC
LIMIT 1
"""
_OID = """
SELECT c.oid::text FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = {schema}
WHERE c.relname = {table}
"""
_DEFAULT = """
SELECT coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = {oid}::oid AND a.attname = {column}
"""
_TEMPLATE = "SELECT to_regclass('information_schema.berth_kept_mark') IS NOT NULL"
_OF_TEMPLATE = "berth_kept_{}"
_TRUE = frozenset({"t", "true", "True"})
_BY_TEST = "written by this test, its seeds, or fixtures of its own"
_BY_TEMPLATE = "there before the test: written by the schema or the seeds"
_BY_FIXTURE = "there before the test: written by a fixture of the scope"
_BEFORE = "there before the test: written by the schema, the seeds or a fixture of a wider scope"


@dataclass(frozen=True)
class View:
    """A connection, and what it sees.

    Attributes:
        asking: Asks on it.
        own: The id of the test's transaction, where it is the test's own connection and has
            written.
        held: What the database held before the test, where that is known.
    """

    asking: Asking
    own: str
    held: Held | None


@contextmanager
def view(database: IsolatedDatabase) -> Iterator[View]:
    """Yield the rolled-back test's connection if it can be asked, else a new one."""
    if database.rolled_back:
        try:
            with asking.in_test(database.rolled_back) as ask:
                yield View(ask, rolled_back.own_id(ask), None)
                return
        except NoAnswerError as error:
            debug("a test's connection cannot be asked: %s", error)
    name = database.active.database
    held = [each for each in database.held if each.database == name]
    with asking.beside(database.server, name) as ask:
        yield View(ask, "", held[0] if held else None)


def of_unique(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return the row that has the key already, or excludes it."""
    with view(database) as seen:
        ask = seen.asking
        found = ask(
            sql.SQL(_INDEX).format(
                index=sql.Literal(error.constraint),
                table=sql.Literal(error.table),
                schema=sql.Literal(error.schema),
            )
        )
        if not found:
            return []
        oid, condition = int(found[0][0] or 0), found[0][2] or ""
        keys = [expression or "" for _, expression, _ in found]
        table = tables.read(ask, [oid])[oid]
        told = [f"{error.constraint}: one row of {table} for each ({', '.join(keys)})"]
        if condition:
            told[0] += f" where {condition}"
        match = _EXISTING.search(error.detail) or _KEY.search(error.detail)
        wanted = _split(match[2], len(keys)) if match else None
        if wanted is None:
            return told
        where = sql.SQL(" AND ").join(
            sql.SQL("({})::text = {}").format(sql.SQL(key), sql.Literal(value))
            for key, value in zip(keys, wanted, strict=True)
        )
        if condition:
            where = sql.SQL("{} AND ({})").format(where, sql.SQL(condition))
        return told + _in_the_way(seen, table, where)


def of_foreign_key(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return which row is missing, or which rows refer to the one that was to go."""
    with view(database) as seen:
        ask = seen.asking
        found = _constraint(ask, error)
        match = _KEY.search(error.detail)
        if not found or not match:
            return []
        oid, other, definition, columns, referred = found
        known = tables.read(ask, [int(oid), int(other)])
        referring, target = known[int(oid)], known[int(other)]
        here, there = columns.split(","), referred.split(",")
        told = [f"{error.constraint} of {referring}: {definition}"]
        wanted = _split(match[2], len(here))
        if wanted is None:
            return told
        if (match[1].split(", ") == there and match[1].split(", ") != here) or (
            f'"{referring.name}"' in error.detail
        ):
            return told + _referring(ask, referring, here, wanted)
        return told + _missing(seen, target, there, wanted)


def of_not_null(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return the column, its default, and the row that was refused."""
    with view(database) as seen:
        table = table_of(seen.asking, error)
        if table is None:
            return []
        query = sql.SQL(_DEFAULT).format(
            oid=sql.Literal(table.oid), column=sql.Literal(error.column)
        )
        ((default,),) = seen.asking(query) or [("",)]
        has = f"has the default {default}, and was given NULL" if default else "has no default"
        told = [f"{table}.{error.column} may not be NULL, and {has}"]
        return told + _refused(table, error.detail)


def of_check(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return the constraint's definition, and the row that was refused."""
    with view(database) as seen:
        found, table = _constraint(seen.asking, error), table_of(seen.asking, error)
        if not found or table is None:
            return []
        return [f"{error.constraint} of {table}: {found[2]}", *_refused(table, error.detail)]


def _in_the_way(seen: View, table: Table, where: sql.Composable) -> list[str]:
    found = _rows(seen, table, where)
    if not found:
        return [
            "the row in the way is not to be seen any more: it was written in the transaction that"
            " the error has aborted, or by one that has not committed"
        ]
    told = []
    for mine, *row in found:
        told.append(f"in the way: {values.row(table.columns, row)}")
        told.append(f"  {_origin(seen, table, where, is_own=mine in _TRUE)}")
    return told


def _rows(seen: View, table: Table, where: sql.Composable) -> list[Row]:
    """Return rows, each after whether the test has written it."""
    mine: sql.Composable = sql.SQL("NULL")
    if seen.own:
        mine = sql.SQL("({})::text").format(rolled_back.is_own(seen.own))
    query = sql.SQL("SELECT {}, {} FROM ONLY {} WHERE {} LIMIT {}")
    return seen.asking(
        query.format(mine, table.fetched, table.identifier, where, sql.Literal(_MOST))
    )


def _origin(seen: View, table: Table, where: sql.Composable, *, is_own: bool) -> str:
    """Return who has written a row."""
    if is_own:
        return _BY_TEST
    try:
        if _has(seen.asking, _template_copy(seen.asking, table), where):
            return _BY_TEMPLATE
        return _of_layer(seen, seen.held, table, where) if seen.held else _BEFORE
    except NoAnswerError as error:
        debug("what %s held before cannot be read: %s", table, error)
        return _BEFORE


def _of_layer(seen: View, held: Held, table: Table, where: sql.Composable) -> str:
    """Return which scope's fixtures have written a row.

    The baselines are looked through from the first one on: the one that has the row was captured
    after the fixtures of the layer before it. Where one of the template is there, and has not got
    it, what has it first was captured after a fixture of the session.
    """
    wrote = "session" if _is_true(seen.asking(_TEMPLATE)) else ""
    with asking.on(held.connection.psycopg) as ask:
        for scope, baseline in held.layers:
            kept = baseline.copies.get(table.oid)
            if kept and _has(ask, kept.copy, where):
                return f"{_BY_FIXTURE} {wrote}" if wrote else _BEFORE
            wrote = scope
    return _BY_TEST


def _template_copy(ask: Asking, table: Table) -> sql.Identifier | None:
    name = _OF_TEMPLATE.format(table.oid)
    query = sql.SQL("SELECT to_regclass({}) IS NOT NULL")
    there = _is_true(ask(query.format(sql.Literal(f"information_schema.{name}"))))
    return sql.Identifier("information_schema", name) if there else None


def _has(ask: Asking, copy: sql.Identifier | None, where: sql.Composable) -> bool:
    if copy is None:
        return False
    query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})")
    return _is_true(ask(query.format(copy, where)))


def _missing(seen: View, target: Table, columns: list[str], wanted: list[str]) -> list[str]:
    where = _equal(columns, wanted)
    shown = _key_shown(target, columns, wanted)
    found = _rows(seen, target, where)
    if found:
        return [
            f"{target} has a row with {shown} by now, or in the test's own transaction:"
            " the connection that failed did not see it, as it was not committed"
        ]
    keys = [target_column for target_column in target.columns if target_column.name in columns]
    query = sql.SQL("SELECT {} FROM {} ORDER BY {} LIMIT 6").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(each.name)) for each in keys),
        target.identifier,
        sql.SQL(", ").join(sql.Identifier(each.name) for each in keys),
    )
    there = seen.asking(query)
    told = f"{target} has no row with {shown}"
    if not there:
        return [f"{told}: the table is empty"]
    return [f"{told}; it has {values.joined((values.row(keys, row) for row in there), 5)}"]


def _referring(ask: Asking, table: Table, columns: list[str], wanted: list[str]) -> list[str]:
    query = sql.SQL("SELECT {} FROM {} WHERE {} LIMIT {}")
    where = _equal(columns, wanted)
    found = ask(query.format(table.fetched, table.identifier, where, sql.Literal(_MOST + 1)))
    told = [f"refers to it: {table}: {values.row(table.columns, row)}" for row in found[:_MOST]]
    return told + (["and more rows"] if len(found) > _MOST else [])


def _refused(table: Table, detail: str) -> list[str]:
    """Return the refused row; nothing where its values cannot be told apart."""
    match = _FAILING.search(detail)
    given = match[1].split(", ") if match else []
    if len(given) != len(table.columns):
        return []
    row = [None if value == "null" else value for value in given]
    return [f"refused: {values.row(table.columns, row)}"]


def _constraint(ask: Asking, error: ServerError) -> tuple[str, ...] | None:
    found = ask(
        sql.SQL(_CONSTRAINT).format(
            name=sql.Literal(error.constraint),
            schema=sql.Literal(error.schema),
            table=sql.Literal(error.table),
        )
    )
    return tuple(each or "" for each in found[0]) if found else None


def table_of(ask: Asking, error: ServerError) -> Table | None:
    """Return the table that an error names."""
    query = sql.SQL(_OID).format(schema=sql.Literal(error.schema), table=sql.Literal(error.table))
    oids = [int(oid or 0) for (oid,) in ask(query)]
    return next(iter(tables.read(ask, oids).values()), None) if oids else None


def _equal(columns: Sequence[str], wanted: Sequence[str]) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{}::text = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in zip(columns, wanted, strict=True)
    )


def _key_shown(table: Table, columns: Sequence[str], wanted: Sequence[str]) -> str:
    by_name = {column.name: column for column in table.columns}
    return values.row([by_name[name] for name in columns], list(wanted))


def _split(text: str, number: int) -> list[str] | None:
    """Return the values of a key; None where a comma of theirs keeps them from being told apart."""
    found = [text] if number == 1 else text.split(", ")
    return found if len(found) == number else None


def _is_true(rows: Sequence[Row]) -> bool:
    return rows[0][0] in _TRUE
