"""Restores in one message what tests mostly leave: rows that are new, sequences that have moved.

A function of the server does what a restore else does in five round trips: it ends whom it has to
end, looks, compares, deletes, and sets sequences back. Where it meets anything else (a row of the
baseline that is changed or gone, another schema, an open transaction, a lock), it leaves everything
as it is: then the long way is taken, which can do more, and tells what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.debug_log import ignoring
from pytest_berth.services.postgres.restore import ddl_trigger, schema_fingerprint
from pytest_berth.services.postgres.restore.baseline import OnServer
from pytest_berth.services.postgres.restore.changed_rows import BYTES
from pytest_berth.services.postgres.restore.contents import batches
from pytest_berth.services.postgres.restore.log_positions import NEWER, XID_MODULUS, Snapshot
from pytest_berth.services.postgres.restore.prepared_statements import (
    END_OTHERS,
    RUNNING,
    SIZES,
    WRITING,
    array,
    counts,
    set_sequences,
)
from pytest_berth.services.postgres.restore.transactions import current_database, row
from pytest_berth.services.postgres.server.connections import value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.transactions import Connection

# To make the function, and to plan it at its first call, takes as long as about eight restores.
AFTER = 8
# Who has to wait longer for a lock takes the long way, where locks are waited for.
_LOCK_TIMEOUT = "50ms"
# Transactions since the baseline, of all databases, of which each is looked at.
_MOST = 1000
# The first two arguments are those that the statements of a baseline have.
_FUNCTION = """
CREATE OR REPLACE FUNCTION {name}(
    xid, xid[], since pg_snapshot, own xid8[], stored oid[], files oid[], alone int[],
    users int8, at_most int8
) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET row_security = off SET lock_timeout = {lock_timeout}
AS $berth$
#variable_conflict use_column
DECLARE
    seen pg_snapshot;
    ended xid8[];
    filled oid[] := '{{}}';
    grown oid[] := '{{}}';
    added int8 := 0;
    differs bool;
    dirty oid;
    xids text[];
    writers text[] := '{{}}';
    counted record;
    moved int8[];
BEGIN
    IF alone IS NOT NULL THEN
        -- What ends, or has closed its connection, is there for another moment.
        FOR waited IN 0..10 LOOP
            PERFORM {end_others};
            EXIT WHEN NOT FOUND;
            IF waited = 10 THEN
                RETURN NULL;
            END IF;
            PERFORM pg_sleep(0.0005);
            PERFORM pg_stat_clear_snapshot();
        END LOOP;
    ELSIF {running} THEN
        RETURN NULL;
    END IF;
    seen := pg_current_snapshot();
    IF age(pg_snapshot_xmax(seen)::xid) > 0 OR pg_snapshot_xmin(seen) <> pg_snapshot_xmax(seen) THEN
        -- First who is writing, then the snapshot: one that ends in between shows in the snapshot.
        PERFORM pg_stat_clear_snapshot();
        IF (SELECT w.writing FROM ({writing}) AS w (newer, writing)) THEN
            RETURN NULL;
        END IF;
        seen := pg_current_snapshot();
    END IF;
    IF pg_snapshot_xmax(seen)::text::int8 - pg_snapshot_xmax(since)::text::int8 > {most} THEN
        RETURN NULL;
    END IF;
    ended := ARRAY(
        SELECT e.id FROM (
            SELECT pg_snapshot_xip(since)
            UNION ALL
            SELECT n::text::xid8 FROM generate_series(
                pg_snapshot_xmax(since)::text::int8, pg_snapshot_xmax(seen)::text::int8 - 1
            ) n
        ) e (id) WHERE pg_visible_in_snapshot(e.id, seen) AND e.id <> ALL (own)
    );
    IF ended = '{{}}' THEN
        RETURN '';
    END IF;
    IF EXISTS (SELECT FROM {notes}) OR ({sentinel}) IS DISTINCT FROM {known_sentinel}
    OR EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (
        SELECT FROM unnest(stored, files) AS k (oid, file) LEFT JOIN pg_class c USING (oid)
        WHERE c.relfilenode IS DISTINCT FROM k.file OR NOT c.relispopulated
    ) THEN
        RETURN NULL;
    END IF;
    {comparisons}
    IF (filled || grown) && {guarded} THEN
        RETURN NULL;
    END IF;
    IF at_most IS NOT NULL THEN
        IF at_most < added + (
            SELECT coalesce(sum(pg_relation_size(t.oid)), 0) FROM unnest(filled) t (oid)
        ) / {bytes} THEN
            RETURN NULL;
        END IF;
    END IF;
    FOREACH dirty IN ARRAY filled || grown LOOP
        EXECUTE format(
            'WITH gone AS (DELETE FROM ONLY %s WHERE %s RETURNING xmin)'
            ' SELECT array_agg(DISTINCT xmin::text) FROM gone',
            dirty::regclass, CASE WHEN dirty = ANY (grown) THEN {newer} ELSE 'true' END
        ) INTO xids USING $1, $2;
        writers := writers || xids;
    END LOOP;
    IF EXISTS (
        SELECT FROM unnest(ended) e (id)
        WHERE e.id::xid::text <> ALL (writers) AND pg_xact_status(e.id) = 'committed'
    ) THEN
        SELECT c.entries, c.changed INTO counted FROM ({catalog}) c (entries, changed);
        IF counted.changed > 0 OR counted.entries <> users THEN
            RAISE 'pytest-berth takes the long way: the schema may have changed';
        END IF;
    END IF;
    moved := ARRAY({sequences});
    RETURN concat_ws(
        '|', seen, coalesce(pg_current_xact_id_if_assigned()::text, ''), moved,
        (SELECT string_agg(s.oid || ' ' || s.size, ',') FROM ({sizes}) s (oid, size))
    );
END$berth$
"""
# The ids of the transaction, and of the savepoint that the function was made in.
_OWN_IDS = """
SELECT pg_catalog.pg_current_xact_id()::text, xmin::text
FROM pg_catalog.pg_proc WHERE oid = %s::regproc
"""
# Whether the function would fire an event trigger of the suite's, and leave what that writes.
_FIRED = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_event_trigger
    WHERE evtname <> 'berth_ddl' AND evtenabled IN ('A', 'R')
)
"""
_FILLED = """
    filled := filled || array_remove(ARRAY[{flags}]::oid[], NULL);
"""
_GROWN = """
    SELECT grown || coalesce(array_agg(c.oid::oid) FILTER (WHERE c.newer > 0), '{{}}'),
        added + sum(c.newer), bool_or(c.older <> k.rows)
    INTO grown, added, differs
    FROM ({counts}) AS c (oid, newer, older)
    JOIN unnest({oids}, {rows}) AS k (oid, rows) USING (oid);
    IF differs THEN
        RETURN NULL;
    END IF;
"""
_VIEWS = """
    IF EXISTS (
        SELECT FROM ({counts}) AS c (oid, newer, older)
        JOIN unnest({oids}, {rows}) AS k (oid, rows) USING (oid)
        WHERE c.newer > 0 OR c.older <> k.rows
    ) THEN
        RETURN NULL;
    END IF;
"""


@dataclass(frozen=True)
class Done:
    """What was put back.

    Attributes:
        baseline: What is to be used from now on.
        tables: Those that had new rows, none of which is there any more.
        moved: Sequences that had given away values.
        sizes: Bytes of these tables.
    """

    baseline: Baseline
    tables: tuple[Relation, ...] = ()
    moved: tuple[Relation, ...] = ()
    sizes: Mapping[int, int] = field(default_factory=dict)


def attempt(
    connection: Connection,
    baseline: Baseline,
    alone: Collection[int] | None,
    at_most: int | None,
) -> Done | None:
    """Put everything back in one message; the arguments are those of `restore`.

    Returns:
        None where nothing was done, as there is no function for that yet, or it may not be enough.
    """
    function = baseline.on_server
    if function is None or baseline.open_before or not _fits(function, baseline):
        return None
    position = baseline.position
    first, own = position.arguments
    ids = ",".join(map(str, position.own))
    kept = "NULL" if alone is None else f"'{{{','.join(map(str, alone))}}}'"
    stored = ",".join(map(str, baseline.storage))
    files = ",".join(str(each.filenode) for each in baseline.storage.values())
    answer = value(
        connection,
        f"SELECT {function.name}({first}, {own}, '{position.snapshot}', '{{{ids}}}',"
        f" '{{{stored}}}', '{{{files}}}', {kept},"
        f" {baseline.entries.users}, {'NULL' if at_most is None else at_most})",
    )
    if answer:
        return _done(baseline, answer)
    # Where no transaction has ended, such sequences may have moved all the same.
    return None if answer is None or baseline.untracked_sequences else Done(baseline)


def prepare(connection: Connection, baseline: Baseline) -> Baseline:
    """Return the baseline with a function that puts it back, if it is to have one by now.

    Args:
        connection: In the transaction of a restore that leaves the storage as it is.
        baseline: What it puts back.
    """
    restores = baseline.restores + 1
    baseline = replace(baseline, restores=restores)
    if restores < AFTER or not _is_possible(baseline) or _fits(baseline.on_server, baseline):
        return baseline
    if row(connection, _FIRED)[0]:
        return baseline
    name = f"pg_temp.{baseline.prepared.prefix}_restore"
    function = OnServer(name, baseline.sentinel)
    with (
        ignoring(psycopg.Error, why="it is put back in several messages"),
        connection.transaction(),
    ):
        connection.execute(_definition(connection, baseline, function), prepare=False)
        whole, part = map(int, row(connection, _OWN_IDS, name))
        own = baseline.position.own | {whole, whole + (part - whole) % XID_MODULUS}
        return replace(baseline, on_server=function, position=replace(baseline.position, own=own))
    return baseline


def _fits(function: OnServer | None, baseline: Baseline) -> bool:
    return function is not None and function.sentinel == baseline.sentinel


def _is_possible(baseline: Baseline) -> bool:
    stored = baseline.storage.values()
    return (
        baseline.watched
        and baseline.replica
        and not baseline.large_objects
        and all(each.populated for each in stored)
    )


def _definition(connection: Connection, baseline: Baseline, function: OnServer) -> sql.Composed:
    relations, database = baseline.relations, sql.Literal(current_database(connection))
    of_position = WRITING.replace("$1", "pg_snapshot_xmax(since)::xid")
    of_position = of_position.replace("$2", "pg_snapshot_xmin(since)::xid")
    return sql.SQL(_FUNCTION).format(
        name=sql.SQL(function.name),
        lock_timeout=sql.Literal(_LOCK_TIMEOUT),
        end_others=sql.SQL(END_OTHERS.strip().removeprefix("SELECT").replace("$1", "alone")).format(
            database=database
        ),
        running=sql.SQL(RUNNING).format(database=database),
        writing=sql.SQL(of_position).format(database=database, before=array("text", [])),
        most=sql.Literal(_MOST),
        notes=ddl_trigger.NOTES,
        sentinel=ddl_trigger.sentinel(database),
        known_sentinel=array("text", function.sentinel),
        comparisons=sql.SQL("").join(_comparisons(baseline)),
        guarded=array("oid", [table.oid for table in relations.tables if table.guards]),
        bytes=sql.Literal(BYTES),
        newer=sql.Literal(NEWER),
        catalog=schema_fingerprint.counted(connection, baseline.fingerprint),
        sequences=set_sequences(baseline.sequences),
        sizes=sql.SQL(SIZES.replace("$1", "filled || grown")),
    )


def _comparisons(baseline: Baseline) -> list[sql.Composed]:
    copies, relations = baseline.copies, baseline.relations
    empty = [table for table in relations.tables if table.oid not in copies]
    seeded = [table for table in relations.tables if table.oid in copies]
    views = [view for view in relations.views if view.oid in copies]
    flag = sql.SQL("CASE WHEN EXISTS (SELECT FROM ONLY {}) THEN {} END")

    def filled(batch: Sequence[Relation]) -> sql.Composed:
        flags = [flag.format(table.identifier, sql.Literal(table.oid)) for table in batch]
        return sql.SQL(_FILLED).format(flags=sql.SQL(", ").join(flags))

    def counted(statement: str, batch: Sequence[Relation]) -> sql.Composed:
        oids = [each.oid for each in batch]
        rows = [copies[oid].rows for oid in oids]
        return sql.SQL(statement).format(
            counts=counts(batch), oids=array("int8", oids), rows=array("int8", rows)
        )

    return [
        *map(filled, batches(empty)),
        *(counted(_GROWN, batch) for batch in batches(seeded)),
        *(counted(_VIEWS, batch) for batch in batches(views)),
    ]


def _done(baseline: Baseline, answer: bytes) -> Done:
    seen, xid, moved, *sizes = answer.decode().split("|")
    sized = [each.split(" ") for each in ",".join(sizes).split(",") if each]
    found = {int(oid): int(size) for oid, size in sized}
    set_back = {int(oid) for oid in moved.strip("{}").split(",") if oid}
    advanced = baseline.position.advanced(Snapshot.parse(seen), int(xid) if xid else None)
    untracked = tuple(each for each in baseline.untracked_sequences if each.unlogged)
    return Done(
        replace(baseline, position=advanced, untracked_sequences=untracked),
        tuple(table for table in baseline.relations.tables if table.oid in found),
        tuple(each for each in baseline.relations.sequences if each.oid in set_back),
        found,
    )
