"""The beginning of a repair: all that it has to know is read in one round trip."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.failures import SchemaChanged
from pytest_berth.services.postgres.repair import ddl, dirt, fingerprint, holders
from pytest_berth.services.postgres.repair.blocking import BlockedError, waiting_on
from pytest_berth.services.postgres.repair.marks import Snapshot
from pytest_berth.services.postgres.repair.session import transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_berth.services.postgres.repair.baseline import Baseline
    from pytest_berth.services.postgres.repair.dirt import Dirt
    from pytest_berth.services.postgres.repair.session import Connection, Row


@dataclass(frozen=True)
class Reading:
    """A database whose schema is the baseline's.

    Attributes:
        snapshot: From before everything else was read.
        sentinel: What changes by commands that are not noted.
        dirt: What differs.
    """

    snapshot: Snapshot
    sentinel: tuple[str, ...]
    dirt: Dirt


@contextmanager
def reading(
    connection: Connection, baseline: Baseline, *, lock_timeout: float
) -> Iterator[Reading]:
    """Begin a transaction by comparing the database with its baseline.

    Raises:
        SchemaChanged: The schema is another one.
        BlockedError: Others hold locks that exclude reading.
    """
    signs = _signs(baseline)
    first = [*signs, *dirt.statements(baseline)]
    relations = baseline.relations
    everything = (*relations.tables, *relations.views, *relations.sequences)
    begin = partial(transaction, connection, lock_timeout=lock_timeout)
    with ExitStack() as stack:
        try:
            with waiting_on(everything, holders.BLOCK_READING):
                found = stack.enter_context(begin(first=first))
        except (BlockedError, IsolationError, psycopg.Error):
            # Statements that were made for one schema cannot be run in another.
            with waiting_on(everything, holders.BLOCK_READING), begin(first=signs) as seen:
                _require_schema(connection, baseline, seen)
            raise
        snapshot, sentinel = _require_schema(connection, baseline, found[: len(signs)])
        with waiting_on(everything, holders.BLOCK_READING):
            differing = dirt.find(connection, baseline, found[len(signs) :])
        yield Reading(snapshot, sentinel, differing)


def _signs(baseline: Baseline) -> list[str]:
    """Return the statements for what tells of the schema; the snapshot comes first."""
    names = ("snapshot", "noted", "sentinel") if baseline.watched else ("snapshot",)
    return [baseline.prepared.run(name) for name in names]


def _require_schema(
    connection: Connection, baseline: Baseline, found: Sequence[list[Row]]
) -> tuple[Snapshot, tuple[str, ...]]:
    """Refuse a changed schema; return the snapshot of that moment, and the sentinel."""
    ((now,),) = found[0]
    noted, sentinel = (found[1][0][0], tuple(found[2][0][0])) if baseline.watched else ((), ())
    if noted or sentinel != baseline.sentinel or not baseline.watched:
        differences = fingerprint.differences(connection, baseline.fingerprint)
        if differences:
            raise SchemaChanged(differences)
        ddl.forget(connection, noted)
    return Snapshot.parse(now), sentinel
