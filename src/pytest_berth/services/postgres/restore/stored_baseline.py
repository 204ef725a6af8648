"""A baseline that is part of the database itself: every clone of it brings the copies along.

Capturing reads and copies everything, which takes tens of milliseconds; a clone of a template that
has its baseline stored needs no more than a few.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore import (
    catalog,
    ddl_trigger,
    large_objects,
    prepared_statements,
    schema_fingerprint,
)
from pytest_berth.services.postgres.restore.baseline import (
    Baseline,
    Entries,
    RowCopy,
    untracked_sequences,
)
from pytest_berth.services.postgres.restore.capture import entries, keep
from pytest_berth.services.postgres.restore.contents import read_sequences, storage_of
from pytest_berth.services.postgres.restore.find_changes import confirm
from pytest_berth.services.postgres.restore.log_positions import LogPosition, Snapshot
from pytest_berth.services.postgres.restore.transactions import (
    Connection,
    results,
    row,
    settle,
    transaction,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.services.postgres.restore.prepared_statements import Prepared
    from pytest_berth.services.postgres.restore.schema_fingerprint import Fingerprint

PREFIX = "berth_kept"
# Settings of a database are not cloned with it, so that the clone's catalog is another one.
IS_STORED = """
SELECT pg_catalog.to_regclass('information_schema.berth_kept_mark') IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_db_role_setting WHERE setdatabase = (
        SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()
    )
)
"""
STATE = "SELECT snapshot, own, kept, users, system FROM information_schema.berth_kept_mark"


def store(connection: Connection, *, lock_timeout: float) -> bool:
    """Store the baseline in the database, which nobody else may be connected to.

    Args:
        connection: In autocommit mode.
        lock_timeout: Seconds to wait for each lock.

    Returns:
        False where the role may not; nothing is stored then.
    """
    replica = settle(connection)
    if not (replica and ddl_trigger.install(connection)):
        return False
    with transaction(connection, lock_timeout=lock_timeout, isolation="REPEATABLE READ"):
        snapshot = Snapshot.now(connection)
        relations = catalog.read(connection, replica=replica)
        kept = keep(connection, relations, _place)
        large_objects.keep(connection, _place("objects"))
        found = schema_fingerprint.take(connection, _place("catalog"))
        _store_position(connection, snapshot, {oid: each.rows for oid, each in kept.items()}, found)
    ((noted,),) = results(connection, [ddl_trigger.NOTED])[0]
    ddl_trigger.forget(connection, noted)
    return True


def load(
    connection: Connection, *, lock_timeout: float, like: Baseline | None = None
) -> Baseline | None:
    """Return the baseline that the database was cloned with, if it still holds that.

    Args:
        connection: In autocommit mode.
        lock_timeout: Seconds to wait for each lock.
        like: What another clone of the same template held: it is not read again.

    Returns:
        None where none is stored, or the database holds something else by now.
    """
    replica = settle(connection)
    if not (replica and row(connection, IS_STORED)[0]):
        return None
    with transaction(connection, lock_timeout=lock_timeout, isolation="REPEATABLE READ"):
        loaded = _alike(connection, like) if like and like.stored else _read(connection)
    return confirm(connection, loaded, lock_timeout=lock_timeout)


def _store_position(
    connection: Connection, snapshot: Snapshot, rows: Mapping[int, int], found: Fingerprint
) -> None:
    (own,) = row(connection, "SELECT pg_catalog.pg_current_xact_id()::text")
    connection.execute(
        sql.SQL(
            "CREATE TABLE {} AS SELECT {}::text AS snapshot, {}::int8 AS own, {}::text AS kept,"
            " 0::int8 AS users, 0::int8 AS system"
        ).format(_place("mark"), *map(sql.Literal, (str(snapshot), int(own), json.dumps(rows))))
    )
    # Last, as the tables of the baseline have entries, too.
    statements = prepared_statements.prepare_counts(connection, f"{PREFIX}_new", found)
    position = LogPosition(snapshot, frozenset([int(own)]))
    counted = entries(connection, statements, position)
    prepared_statements.deallocate(connection, statements)
    connection.execute(
        sql.SQL("UPDATE {} SET users = {}, system = {}").format(
            _place("mark"), *map(sql.Literal, (counted.users, counted.system))
        )
    )


def _read(connection: Connection) -> Baseline:
    snapshot, own, rows, *counted = row(connection, STATE)
    relations = catalog.read(connection, replica=True)
    kept = {int(oid): RowCopy(_place(oid), count) for oid, count in json.loads(rows).items()}
    states = read_sequences(connection, relations.sequences)
    sequences = {oid: state.value for oid, state in states.items()}
    found = schema_fingerprint.stored_in(connection, _place("catalog"))
    statements = prepared_statements.prepare(
        connection, PREFIX, relations, kept, sequences, frozenset(), found, watched=True
    )
    oids = ",".join(map(str, kept))
    storage, sizes, ((sentinel,),) = results(
        connection,
        [
            statements.run("storage"),
            statements.run("sizes", f"'{{{oids}}}'"),
            statements.run("sentinel"),
        ],
    )
    return Baseline(
        relations=relations,
        fingerprint=found,
        copies=kept,
        storage=storage_of(storage),
        sequences=sequences,
        untracked_sequences=untracked_sequences(relations.sequences, states, frozenset()),
        sizes=dict(sizes),
        large_objects=large_objects.read(connection),
        object_copies=_place("objects"),
        open_before=frozenset(),
        replica=True,
        watched=True,
        sentinel=tuple(sentinel),
        entries=Entries(*counted),
        prepared=statements,
        position=LogPosition(Snapshot.parse(snapshot), frozenset([own])),
        stored=True,
    )


def _alike(connection: Connection, like: Baseline) -> Baseline:
    """Return a clone's baseline: ids and files are the same, statements are the connection's."""
    snapshot, own, *_ = row(connection, STATE)
    statements = _prepare(connection, like)
    ((sentinel,),) = results(connection, [statements.run("sentinel")])[0]
    return replace(
        like,
        prepared=statements,
        sentinel=tuple(sentinel),
        position=LogPosition(Snapshot.parse(snapshot), frozenset([own])),
    )


def _prepare(connection: Connection, like: Baseline) -> Prepared:
    return prepared_statements.prepare(
        connection,
        PREFIX,
        like.relations,
        like.copies,
        like.sequences,
        like.open_before,
        like.fingerprint,
        watched=True,
    )


def _place(name: object) -> sql.Identifier:
    # Tools that list or dump schemas pass over this one.
    return sql.Identifier("information_schema", f"{PREFIX}_{name}")
