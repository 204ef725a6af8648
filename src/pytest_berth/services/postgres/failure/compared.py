"""Finds what differs from the baseline that a database is put back to; nothing is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.failure import tables
from pytest_berth.services.postgres.failure.asking import NoAnswerError
from pytest_berth.services.postgres.failure.tables import MOST, Change, Table
from pytest_berth.services.postgres.restore.contents import batches
from pytest_berth.services.postgres.restore.transactions import union_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.services.postgres.failure.asking import Asking, Row
    from pytest_berth.services.postgres.restore import Baseline
    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.transactions import Connection

# A materialized view that is not populated cannot be read.
_THERE = "SELECT oid::text FROM pg_catalog.pg_class WHERE oid = ANY ({}::oid[]) AND relispopulated"
# A table that others have locked so that it cannot be read.
_LOCKED = """
SELECT l.relation::text FROM pg_catalog.pg_locks l
WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation'
AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
"""
_NOTED = "SELECT transaction::text FROM information_schema.berth_ddl LIMIT 1"
_COUNTS = """
SELECT {oid}::text,
    (SELECT count(*) FROM (SELECT FROM ONLY {table} WHERE {newer} LIMIT {most}) new)::text,
    {old}
"""
_OLD = "(SELECT count(*) FROM ONLY {table} WHERE NOT {newer})::text"


def find(asking: Asking, baseline: Baseline) -> list[Change]:
    """Return what has become of each table.

    Args:
        asking: On the connection that keeps the baseline.
        baseline: What the database held before the test.
    """
    relations = [*baseline.relations.tables, *baseline.relations.views]
    oids = {each.oid for each in relations}
    there = _oids(asking(sql.SQL(_THERE).format(_array(oids)))) & oids
    locked = _oids(asking(_LOCKED)) & there
    readable = [each for each in relations if each.oid in there - locked]
    found = {
        oid: (new, old)
        for batch in batches(readable)
        for oid, new, old in _count(asking, baseline, batch)
    }
    differing = {
        oid: (new, old)
        for oid, (new, old) in found.items()
        if new or old != (baseline.copies[oid].rows if oid in baseline.copies else 0)
    }
    known = tables.read(asking, differing.keys() | locked)
    by_oid = {each.oid: each for each in relations}
    return [
        _look(asking, baseline, by_oid[oid], known[oid])
        if oid in differing
        else Change(known[oid], told="cannot be read: a transaction has locked it exclusively")
        for oid in sorted(known)
    ]


def schema(asking: Asking, baseline: Baseline, connection: Connection) -> list[str]:
    """Return what was created, altered or dropped since the baseline."""
    if baseline.watched and not asking(_NOTED):
        return []
    try:
        return restore.differences(connection, baseline.fingerprint)
    except psycopg.Error as error:
        raise NoAnswerError(str(error).strip(), error.sqlstate or "") from error


def sequences(asking: Asking, baseline: Baseline) -> list[str]:
    """Return which sequences have moved."""
    found: list[str] = []
    oids = {each.oid for each in baseline.relations.sequences}
    there = _oids(asking(sql.SQL(_THERE).format(_array(oids)))) & oids
    for batch in batches([each for each in baseline.relations.sequences if each.oid in there]):
        query = sql.SQL("SELECT {}::text, last_value::text, is_called::text FROM {}")
        states = asking(
            union_all([query.format(sql.Literal(each.oid), each.identifier) for each in batch])
        )
        now = {
            int(oid or 0): (int(last or 0), called in {"t", "true"}) for oid, last, called in states
        }
        found += [
            f"{each} {_number(*baseline.sequences[each.oid])} -> {_number(*now[each.oid])}"
            for each in batch
            if now[each.oid] != baseline.sequences[each.oid]
        ]
    return found


def _count(
    asking: Asking, baseline: Baseline, relations: Sequence[Relation]
) -> list[tuple[int, int, int]]:
    newer, most = baseline.position.is_newer(), sql.Literal(MOST + 1)
    queries = []
    for each in relations:
        old = sql.SQL(_OLD if each.oid in baseline.copies else "'0'")
        queries.append(
            sql.SQL(_COUNTS).format(
                oid=sql.Literal(each.oid),
                table=each.identifier,
                newer=newer,
                most=most,
                old=old.format(table=each.identifier, newer=newer),
            )
        )
    return [
        (int(oid or 0), int(new or 0), int(old or 0))
        for oid, new, old in asking(union_all(queries))
    ]


def _look(asking: Asking, baseline: Baseline, relation: Relation, table: Table) -> Change:
    newer, most = baseline.position.is_newer(), sql.Literal(MOST + 1)
    written = Table(
        table.oid,
        table.schema,
        table.name,
        tuple(each for each in table.columns if each.name in relation.columns),
    )
    query = sql.SQL("SELECT {} FROM ONLY {} WHERE {}{} LIMIT {}")
    try:
        new = asking(query.format(written.fetched, table.identifier, newer, written.ordered, most))
        return Change(written, new, _gone(asking, baseline, relation, written))
    except NoAnswerError as error:
        return Change(table, told=f"cannot be read: {error}")


def _gone(asking: Asking, baseline: Baseline, relation: Relation, table: Table) -> list[Row]:
    """Return the rows of the baseline that are no longer there as they were."""
    kept = baseline.copies.get(relation.oid)
    if kept is None:
        return []
    texts = sql.SQL(", ").join(
        sql.SQL("{0}::text AS {0}").format(sql.Identifier(each.name)) for each in table.columns
    )
    return asking(
        sql.SQL(
            "SELECT {fetched} FROM (SELECT {texts} FROM {copy} EXCEPT ALL"
            " SELECT {texts} FROM ONLY {table} WHERE NOT {newer}) gone{ordered} LIMIT {most}"
        ).format(
            fetched=table.fetched,
            texts=texts,
            ordered=table.ordered,
            copy=kept.copy,
            table=relation.identifier,
            newer=baseline.position.is_newer(),
            most=sql.Literal(MOST + 1),
        )
    )


def _oids(rows: Sequence[Row]) -> set[int]:
    return {int(row[0] or 0) for row in rows}


def _array(oids: set[int]) -> sql.Literal:
    return sql.Literal(f"{{{','.join(map(str, oids))}}}")


def _number(last: int, called: bool) -> str:
    return str(last) if called else "unused"
