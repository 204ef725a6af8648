"""A baseline that is part of the database itself: every clone of it brings the copies along.

Capturing reads and copies everything, which takes tens of milliseconds; a clone of a template that
has its baseline stored needs no more than a few.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.repair import (
    catalog,
    ddl,
    fingerprint,
    large_objects,
    prepared,
)
from pytest_berth.services.postgres.repair.baseline import Baseline, Kept, restless
from pytest_berth.services.postgres.repair.capture import keep
from pytest_berth.services.postgres.repair.contents import read_sequences, storage_of
from pytest_berth.services.postgres.repair.marks import Mark, Snapshot
from pytest_berth.services.postgres.repair.restore import confirm
from pytest_berth.services.postgres.repair.session import (
    Connection,
    results,
    row,
    settle,
    transaction,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.services.postgres.repair.prepared import Prepared

PREFIX = "berth_kept"
# Settings of a database are not cloned with it, so that the clone's catalog is another one.
IS_STORED = """
SELECT pg_catalog.to_regclass('information_schema.berth_kept_state') IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_db_role_setting WHERE setdatabase = (
        SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()
    )
)
"""
STATE = "SELECT snapshot, kept FROM information_schema.berth_kept_state"


def store(connection: Connection, *, lock_timeout: float) -> bool:
    """Store the baseline in the database, which nobody else may be connected to.

    Args:
        connection: In autocommit mode.
        lock_timeout: Seconds to wait for each lock.

    Returns:
        False where the role may not; nothing is stored then.
    """
    replica = settle(connection)
    if not (replica and ddl.install(connection)):
        return False
    with transaction(connection, lock_timeout=lock_timeout, isolation="REPEATABLE READ"):
        snapshot = Snapshot.now(connection)
        kept = keep(connection, catalog.read(connection, replica=replica), _place)
        large_objects.keep(connection, _place("objects"))
        fingerprint.take(connection, _place("catalog"))
        _store_state(connection, snapshot, {oid: found.rows for oid, found in kept.items()})
    ((noted,),) = results(connection, [ddl.NOTED])[0]
    ddl.forget(connection, noted)
    return True


def adopt(
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
        adopted = _alike(connection, like) if like and like.stored else _read(connection)
    return confirm(connection, adopted, lock_timeout=lock_timeout)


def _store_state(connection: Connection, snapshot: Snapshot, rows: Mapping[int, int]) -> None:
    connection.execute(
        sql.SQL("CREATE TABLE {} AS SELECT {}::text AS snapshot, {}::text AS kept").format(
            _place("state"), sql.Literal(str(snapshot)), sql.Literal(json.dumps(rows))
        )
    )


def _read(connection: Connection) -> Baseline:
    snapshot, rows = row(connection, STATE)
    relations = catalog.read(connection, replica=True)
    kept = {int(oid): Kept(_place(oid), found) for oid, found in json.loads(rows).items()}
    standing = read_sequences(connection, relations.sequences)
    sequences = {oid: found.value for oid, found in standing.items()}
    statements = prepared.prepare(
        connection, PREFIX, relations, kept, sequences, frozenset(), watched=True
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
        fingerprint=fingerprint.kept_in(connection, _place("catalog")),
        kept=kept,
        storage=storage_of(storage),
        sequences=sequences,
        restless=restless(relations.sequences, standing, frozenset()),
        sizes=dict(sizes),
        large_objects=large_objects.read(connection),
        kept_objects=_place("objects"),
        open_before=frozenset(),
        replica=True,
        watched=True,
        sentinel=tuple(sentinel),
        prepared=statements,
        mark=Mark(Snapshot.parse(snapshot)),
        stored=True,
    )


def _alike(connection: Connection, like: Baseline) -> Baseline:
    """Return a clone's baseline: ids and files are the same, statements are the connection's."""
    snapshot, _ = row(connection, STATE)
    return replace(
        like,
        prepared=_prepare(connection, like),
        mark=Mark(Snapshot.parse(snapshot)),
    )


def _prepare(connection: Connection, like: Baseline) -> Prepared:
    return prepared.prepare(
        connection,
        PREFIX,
        like.relations,
        like.kept,
        like.sequences,
        like.open_before,
        watched=True,
    )


def _place(name: object) -> sql.Identifier:
    # Tools that list or dump schemas pass over this one.
    return sql.Identifier("information_schema", f"{PREFIX}_{name}")
