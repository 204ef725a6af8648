"""The order in which everything is put back, and how the database stands then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.restore.contents import storage_of
from pytest_berth.services.postgres.restore.lock_waits import waiting_on
from pytest_berth.services.postgres.restore.prepared_statements import set_sequences
from pytest_berth.services.postgres.restore.transactions import results
from pytest_berth.services.postgres.restore.write_back import large_object_contents, trigger_guards
from pytest_berth.services.postgres.restore.write_back.change_relations import writing
from pytest_berth.services.postgres.restore.write_back.materialized_views import Views
from pytest_berth.services.postgres.restore.write_back.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.contents import Storage
    from pytest_berth.services.postgres.restore.diff import Difference
    from pytest_berth.services.postgres.restore.transactions import Connection


@dataclass(frozen=True)
class Finished:
    """How the database stands after a restore.

    Attributes:
        moved: Sequences that had given away values.
        sizes: Bytes of the tables that were touched, with what is stored out of line.
        xid: The restore's transaction, if it has written.
    """

    moved: tuple[Relation, ...]
    storage: Mapping[int, Storage]
    sizes: Mapping[int, int]
    xid: int | None


def put_back(connection: Connection, baseline: Baseline, difference: Difference) -> Finished:
    """Put everything back that is in *difference*, and all sequences, and commit."""
    rows = Rows(connection, baseline)
    touched = rows.touched(difference)
    if difference.is_grown_only and baseline.replica and not any(table.guards for table in touched):
        deletions = [each.as_string(connection) for each in rows.deletions(difference)]
        return _finish(connection, baseline, difference, deletions)
    with trigger_guards.off(connection, baseline, touched):
        rows.put_back(difference)
    for view in difference.views:
        Views(connection, baseline).put_back(view)
    large_object_contents.put_back(connection, baseline, difference)
    return _finish(connection, baseline, difference)


def _finish(
    connection: Connection, baseline: Baseline, difference: Difference, before: Sequence[str] = ()
) -> Finished:
    """Set all sequences back, read how the database stands, and commit, in one round trip."""
    run, sequences = baseline.prepared.run, baseline.relations.sequences
    oids = ",".join(str(table.oid) for table in difference.tables)
    put = _put_sequences(connection, baseline) if baseline.used else run("sequences")
    last = [put, run("storage"), run("sizes", f"'{{{oids}}}'"), run("xid"), "COMMIT"]
    locked = (*difference.tables, *sequences)
    with writing(difference.tables), waiting_on(locked, open_transactions.BLOCK_WRITING):
        found = results(connection, [*before, *last])
    moved, storage, sizes, ((xid,),), _ = found[-len(last) :]
    oids_moved = {oid for (oid,) in moved}
    return Finished(
        tuple(sequence for sequence in sequences if sequence.oid in oids_moved),
        storage_of(storage),
        dict(sizes),
        int(xid) if xid else None,
    )


def _put_sequences(connection: Connection, baseline: Baseline) -> str:
    """Return the statement that sets all sequences back but those that are in use."""
    stood = {oid: value for oid, value in baseline.sequences.items() if oid not in baseline.used}
    return set_sequences(stood).as_string(connection)
