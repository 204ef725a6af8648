"""Finds what a test has written that will be rolled back.

Its own connection sees the rows as they are now: new ones bear the id of a transaction that is in
progress. Another connection sees them as they were: what is to go bears the id of its deleter, and
is not there any more for the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.failure import tables
from pytest_berth.services.postgres.failure.asking import NoAnswerError
from pytest_berth.services.postgres.failure.tables import MOST, Change, Table
from pytest_berth.services.postgres.restore import schema_fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_berth.services.postgres.failure.asking import Asking, Row

_OWN_ID = "SELECT pg_catalog.pg_current_xact_id_if_assigned()::text"
# Counted are also rows that were rolled back, and some of earlier transactions. Who has written to
# a table has this lock on it until the transaction ends.
_TOUCHED = """
SELECT s.relid::text, (s.n_tup_upd + s.n_tup_del)::text
FROM pg_catalog.pg_stat_xact_user_tables s
JOIN pg_catalog.pg_class c ON c.oid = s.relid AND c.relpersistence <> 't'
WHERE s.n_tup_ins + s.n_tup_upd + s.n_tup_del > 0
AND (s.schemaname, s.relname) <> ('information_schema', 'berth_ddl')
AND EXISTS (
    SELECT FROM pg_catalog.pg_locks l WHERE l.pid = pg_catalog.pg_backend_pid()
    AND l.relation = s.relid AND l.mode = 'RowExclusiveLock'
)
ORDER BY s.relid
"""
_CATALOGS_TOUCHED = """
SELECT (sum(n_tup_ins + n_tup_upd + n_tup_del) > 0)::text
FROM pg_catalog.pg_stat_xact_sys_tables
"""
_FILES = """
SELECT oid::text, relfilenode::text FROM pg_catalog.pg_class
WHERE relkind = 'r' AND relpersistence <> 't' AND oid >= 16384
"""
# What can be seen of a transaction in progress is one's own. Ids are 32 bits of a counter of 64.
_MINE = """
CASE WHEN pg_catalog.age(xmin) <= pg_catalog.age({id}::xid8::xid) THEN
    pg_catalog.pg_xact_status(({own} + (
        xmin::text::int8 - {own} % 4294967296 + 4294967296
    ) % 4294967296)::text::xid8) = 'in progress'
ELSE false END
"""
_LATER = "rows as they were cannot be read while the test has the table locked"
_EMPTIED = "emptied or rewritten (TRUNCATE, ALTER TABLE)"
_SEQUENCES = """
SELECT s.seqrelid::text, s.seqrelid::regclass::text,
    coalesce(pg_catalog.pg_sequence_last_value(s.seqrelid)::text, '-')
FROM pg_catalog.pg_sequence s
"""


def find(asking: Asking, outside: Asking) -> list[Change]:
    """Return what has become of each table.

    Args:
        asking: On the test's connection.
        outside: On another one.
    """
    ((own,),) = asking(_OWN_ID)
    if own is None:
        return []
    touched = {int(oid or 0): int(old or 0) for oid, old in asking(_TOUCHED)}
    rewritten = _rewritten(asking, outside) if wrote_catalogs(asking) else set()
    found = tables.read(asking, touched.keys() | rewritten)
    return [
        _look(asking, outside, int(own), table, touched.get(oid, 0), is_rewritten=oid in rewritten)
        for oid, table in found.items()
    ]


def wrote_catalogs(asking: Asking) -> bool:
    """Tell whether the transaction has written to the system's catalogs: it changed the schema."""
    ((wrote,),) = asking(_CATALOGS_TOUCHED)
    return (wrote or "") in {"t", "true"}


def schema(asking: Asking, outside: Asking, listing: sql.Composed) -> list[str]:
    """Return what was created, altered or dropped.

    Args:
        asking: On the test's connection.
        outside: On another one.
        listing: The query that lists all objects.
    """
    return schema_fingerprint.compared(outside(listing), asking(listing))


def sequences(asking: Asking, before: Mapping[str, str]) -> list[str]:
    """Return which sequences have moved.

    Args:
        asking: On the test's connection.
        before: Where they stood, by their ids; ``-`` where they were not used yet.
    """
    return [
        f"{name} {_number(before[oid])} -> {_number(now)}"
        for oid, name, now in _texts(asking(_SEQUENCES))
        if oid in before and before[oid] != now
    ]


def is_own(own: str) -> sql.Composed:
    """Return the condition that a row was written by the transaction with this id."""
    return sql.SQL(_MINE).format(own=sql.Literal(int(own)), id=sql.Literal(own))


def own_id(asking: Asking) -> str:
    """Return the id of the transaction; nothing where it has not written."""
    ((own,),) = asking(_OWN_ID)
    return own or ""


def _look(
    asking: Asking, outside: Asking, own: int, table: Table, old: int, *, is_rewritten: bool
) -> Change:
    query = sql.SQL("SELECT {} FROM ONLY {} WHERE {}{} LIMIT {}")
    mine = is_own(str(own))
    most = sql.Literal(MOST + 1)
    try:
        new = asking(query.format(table.fetched, table.identifier, mine, table.ordered, most))
    except NoAnswerError as error:
        return Change(table, told=f"cannot be read: {error}")
    if is_rewritten:
        return Change(table, new, told=f"{_EMPTIED}; {_LATER}")
    try:
        gone = _gone(asking, outside, table) if old else []
    except NoAnswerError as error:
        return Change(table, new, told=f"{_LATER} ({error})")
    return Change(table, new, gone)


def _gone(asking: Asking, outside: Asking, table: Table) -> list[Row]:
    """Return the rows that others still see, and the test does not."""
    seen = outside(
        sql.SQL("SELECT ctid::text, {} FROM ONLY {} WHERE xmax::text <> '0'{} LIMIT {}").format(
            table.fetched, table.identifier, table.ordered, sql.Literal(MOST + 1)
        )
    )
    if not seen:
        return []
    places = ",".join(f'"{place}"' for place, *_ in seen)
    query = sql.SQL("SELECT ctid::text FROM ONLY {} WHERE ctid = ANY ({}::tid[])")
    left = {
        place for (place,) in asking(query.format(table.identifier, sql.Literal(f"{{{places}}}")))
    }
    return [tuple(row) for place, *row in seen if place not in left]


def _rewritten(asking: Asking, outside: Asking) -> set[int]:
    before: dict[str, str] = {oid: file for oid, file in _texts(outside(_FILES))}  # noqa: C416
    return {int(oid) for oid, file in _texts(asking(_FILES)) if before.get(oid, file) != file}


def _texts(rows: list[Row]) -> Iterator[tuple[str, ...]]:
    return (tuple(each or "" for each in row) for row in rows)


def _number(value: str) -> str:
    return "unused" if value == "-" else value
