"""Finds what differs from the baseline, before anything is put back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from pytest_berth.services.postgres.restore import large_objects
from pytest_berth.services.postgres.restore.contents import storage_of
from pytest_berth.services.postgres.restore.transactions import Connection, results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.transactions import Row

# Measured, with one index: to insert a row again takes five microseconds, to delete one takes one.
_INSERTING = 5
BYTES = 80


@dataclass(frozen=True)
class Difference:
    """What has to be put back; sequences are not looked at.

    Attributes:
        grown: Tables with rows that are not the baseline's, and all of the baseline's.
        altered: Tables with rows of the baseline changed, missing or moved.
        views: Materialized views with other contents.
        added_objects: Large objects that the baseline does not have.
        altered_objects: Large objects of the baseline that are changed or missing.
        cost: Microseconds that it takes to put all that back, roughly.
    """

    grown: tuple[Relation, ...] = ()
    altered: tuple[Relation, ...] = ()
    views: tuple[Relation, ...] = ()
    added_objects: tuple[int, ...] = ()
    altered_objects: tuple[int, ...] = ()
    cost: int = 0

    def __bool__(self) -> bool:
        return any((self.tables, self.views, self.added_objects, self.altered_objects))

    @property
    def is_grown_only(self) -> bool:
        """Whether nothing has to be done but to delete new rows."""
        return not (self.altered or self.views or self.added_objects or self.altered_objects)

    @property
    def tables(self) -> tuple[Relation, ...]:
        """Grown and altered tables."""
        return (*self.grown, *self.altered)


def statements(baseline: Baseline) -> list[str]:
    """Return the statements whose rows `find` needs."""
    run, prepared = baseline.prepared.run, baseline.prepared
    return [
        *map(run, ("storage", "objects", *prepared.empty)),
        *(run(name, *baseline.position.arguments) for name in prepared.seeded),
    ]


def find(connection: Connection, baseline: Baseline, found: Sequence[list[Row]]) -> Difference:
    """Compare the database with its baseline.

    Args:
        connection: In the transaction of the restore.
        baseline: What the database should hold.
        found: The rows of `statements`.
    """
    tables, batches = baseline.relations.tables, len(baseline.prepared.empty)
    seeded = [table for table in tables if table.oid in baseline.copies]
    empty = [table for table in tables if table.oid not in baseline.copies]
    stored, found_objects, *counts = found
    sizes = [size for ((batch,),) in counts[:batches] for size in batch]
    grown, lacking = _differing(baseline, counts[batches:])
    storage = storage_of(stored)
    altered = lacking | {oid for oid, kept in baseline.storage.items() if storage[oid] != kept}
    objects = large_objects.described(found_objects)
    return Difference(
        (
            *(table for table, size in zip(empty, sizes, strict=True) if size is not None),
            *(table for table in seeded if table.oid in grown.keys() - altered),
        ),
        tuple(table for table in seeded if table.oid in altered),
        tuple(_views(connection, baseline, altered)),
        tuple(objects.keys() - baseline.large_objects.keys()),
        tuple(
            oid
            for oid, described in baseline.large_objects.items()
            if objects.get(oid) != described
        ),
        sum(baseline.copies[oid].rows for oid in altered & baseline.copies.keys()) * _INSERTING
        + sum(filter(None, sizes)) // BYTES
        + sum(grown.values()),
    )


def _views(connection: Connection, baseline: Baseline, moved: set[int]) -> list[Relation]:
    """Return the materialized views with other contents.

    An unpopulated view cannot be read; one that stayed populated may have been refreshed
    concurrently, which changes its rows and not its file.
    """
    prepared = baseline.prepared
    readable = [name for oid, name in prepared.views.items() if oid not in moved]
    changed = set(moved)
    if readable:
        runs = [prepared.run(name, *baseline.position.arguments) for name in readable]
        grown, lacking = _differing(baseline, results(connection, runs))
        changed |= grown.keys() | lacking
    return [view for view in baseline.relations.views if view.oid in changed]


def _differing(baseline: Baseline, counts: Iterable[list[Row]]) -> tuple[dict[int, int], set[int]]:
    """Return how many new rows relations have, and the ids of those that lack old ones."""
    grown: dict[int, int] = {}
    lacking: set[int] = set()
    for oid, new, old in chain.from_iterable(counts):
        if new:
            grown[oid] = new
        if old != baseline.copies[oid].rows:
            lacking.add(oid)
    return grown, lacking
