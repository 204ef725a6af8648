"""Knows what a database held when it was captured, and looks whether anything has moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.services.postgres.restore.contents import read_sequences
from pytest_berth.services.postgres.restore.log_positions import Snapshot
from pytest_berth.services.postgres.restore.transactions import Connection, results
from pytest_berth.services.postgres.server.connections import value
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from psycopg import sql

    from pytest_berth.services.postgres.restore.catalog import Relation, Relations
    from pytest_berth.services.postgres.restore.contents import SequenceState, Storage
    from pytest_berth.services.postgres.restore.large_objects import LargeObject
    from pytest_berth.services.postgres.restore.log_positions import LogPosition
    from pytest_berth.services.postgres.restore.prepared_statements import Prepared
    from pytest_berth.services.postgres.restore.schema_fingerprint import Fingerprint

# A backend that was told to end needs a moment to roll back.
ENDING = 10.0
_ENDED = "the end of the test's connections"


@dataclass(frozen=True)
class RowCopy:
    """The copy of a table's or materialized view's rows, in a table of ours."""

    copy: sql.Identifier
    rows: int


@dataclass(frozen=True)
class Baseline:
    """Everything that a database held at an instant.

    Its copies live as long as the connection, or are part of the database (*stored*).

    Attributes:
        copies: The copies of the tables and materialized views that held rows.
        storage: Of the relations with copies, and of all materialized views.
        sequences: ``last_value`` and ``is_called`` of each sequence.
        untracked_sequences: The sequences that may move without a transaction id.
        sizes: Bytes, as far as known: of tables when captured, or vacuumed since.
        open_before: Transactions of a wider scope, prepared ones included: never ended.
        used: Relations that these have locked: of sequences, those that are not put back.
        replica: Whether the role may switch foreign keys and triggers off.
        watched: Whether schema changes are noted; else the catalog is compared each time.
        sentinel: What changes by the commands that are not noted.
        entries: How many rows users' and the system's objects have in the catalogs.
        restores: How often only new rows had to go, in several messages.
        on_server: What puts it back in one message; None as long as there is nothing.
    """

    relations: Relations
    fingerprint: Fingerprint
    copies: Mapping[int, RowCopy]
    storage: Mapping[int, Storage]
    sequences: Mapping[int, tuple[int, bool]]
    untracked_sequences: tuple[Relation, ...]
    sizes: Mapping[int, int]
    large_objects: Mapping[int, LargeObject]
    object_copies: sql.Identifier
    open_before: frozenset[str]
    replica: bool
    watched: bool
    sentinel: tuple[str, ...]
    entries: Entries
    prepared: Prepared
    position: LogPosition
    stored: bool = False
    used: frozenset[int] = frozenset()
    restores: int = 0
    on_server: OnServer | None = None


@dataclass(frozen=True)
class OnServer:
    """A function of the server that puts a baseline back, made for how the database stands.

    Attributes:
        name: Its name, in the schema of the connection's temporary objects.
        sentinel: The baseline's, when it was made.
    """

    name: str
    sentinel: tuple[str, ...]


@dataclass(frozen=True)
class Entries:
    """How many rows the catalogs have: of users' objects, and of the system's own."""

    users: int = 0
    system: int = 0


@dataclass(frozen=True)
class Signs:
    """What one look says about a database.

    Attributes:
        changed: Something may have been written since the position.
        writers: Transactions that have written may be open, or statements that write be running.
    """

    changed: bool
    writers: bool


@dataclass(frozen=True)
class Restored:
    """What a restore touched, and the baseline to use from now on."""

    baseline: Baseline
    tables: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    large_objects: tuple[int, ...] = ()
    prepared: tuple[str, ...] = ()


def changed(connection: Connection, baseline: Baseline) -> bool:
    """Tell whether anything may have been written since the baseline was captured or restored.

    False alarms happen (other databases' transactions count too), misses do not.
    """
    return look(connection, baseline).changed


def look(
    connection: Connection,
    baseline: Baseline,
    alone: Collection[int] | None = None,
    *,
    at_end: bool = False,
) -> Signs:
    """Look for signs of change, in one round trip where nobody on the server is writing.

    Args:
        connection: berth's own.
        baseline: What the database should hold.
        alone: End all other backends first, but for these process ids; left out, end none.
        at_end: Whether statements of the test may be running still.
    """
    run, position = baseline.prepared.run, baseline.position
    if alone is None:
        text = _now(connection, run("end" if at_end else "now"))
    else:
        ending = run("others", f"'{{{','.join(map(str, alone))}}}'")
        others, ((text,),) = results(connection, [ending, run("now")])
        if others:
            wait_for(lambda: not results(connection, [ending])[0], ENDING, message=_ENDED)
            return look(connection, baseline)
    snapshot, running, unseen = text.split(" ")
    if running == "true":
        return Signs(changed=True, writers=True)
    now, newer, writers = Snapshot.parse(snapshot), False, False
    if unseen != "0" or now.running:
        # First who is writing, then the snapshot: one that ends in between shows in the snapshot.
        writing, later = results(connection, [run("writing", *position.since), run("snapshot")])
        ((newer, writers),), now = writing, Snapshot.parse(later[0][0])
    return Signs(newer or position.moved(now) or _sequences_moved(connection, baseline), writers)


def _now(connection: Connection, statement: str) -> str:
    answer = value(connection, statement)
    return answer.decode() if answer else str(results(connection, [statement])[0][0][0])


def untracked_sequences(
    sequences: Sequence[Relation], states: Mapping[int, SequenceState], open_before: Collection[str]
) -> tuple[Relation, ...]:
    """Return the sequences that may move without showing in a snapshot.

    They are not logged, or have values in advance, or may be used by an older transaction,
    which has its id already.
    """
    return tuple(s for s in sequences if open_before or s.unlogged or states[s.oid].ahead)


def _sequences_moved(connection: Connection, baseline: Baseline) -> bool:
    found = read_sequences(connection, baseline.untracked_sequences)
    return any(state.value != baseline.sequences[oid] for oid, state in found.items())
