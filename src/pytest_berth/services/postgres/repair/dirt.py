"""What differs from the baseline: found before anything is put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.repair import large_objects
from pytest_berth.services.postgres.repair.baseline import (
    Baseline,
    batches,
    read_sequences,
    read_storage,
    with_rows,
)
from pytest_berth.services.postgres.repair.session import Connection, rows, union_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.services.postgres.repair.catalog import Relation


@dataclass(frozen=True)
class Dirt:
    """What has to be put back.

    Attributes:
        grown: Tables with rows that are not the baseline's, and all of the baseline's.
        altered: Tables with rows of the baseline changed, missing or moved.
        views: Materialized views with other contents.
        sequences: Sequences at another value.
        added_objects: Large objects that the baseline does not have.
        altered_objects: Large objects of the baseline that are changed or missing.
    """

    grown: tuple[Relation, ...] = ()
    altered: tuple[Relation, ...] = ()
    views: tuple[Relation, ...] = ()
    sequences: tuple[Relation, ...] = ()
    added_objects: tuple[int, ...] = ()
    altered_objects: tuple[int, ...] = ()


def find(connection: Connection, baseline: Baseline) -> Dirt:
    """Compare the database with its baseline."""
    relations = baseline.relations
    storage = read_storage(connection, list(baseline.storage))
    moved = {oid for oid, found in storage.items() if found != baseline.storage[oid]}
    seeded = [table for table in relations.tables if table.oid in baseline.kept]
    empty = [table for table in relations.tables if table.oid not in baseline.kept]
    # An unpopulated view cannot be read; one that stayed populated may have been refreshed
    # concurrently, which changes its rows and not its file.
    readable = [view for view in relations.views if view.oid in baseline.kept.keys() - moved]
    grown, altered = _compare(connection, baseline, [*seeded, *readable])
    altered |= moved
    sequences = read_sequences(connection, relations.sequences)
    objects = large_objects.read(connection)
    return Dirt(
        (*with_rows(connection, empty), *(t for t in seeded if t.oid in grown - altered)),
        tuple(table for table in seeded if table.oid in altered),
        tuple(view for view in relations.views if view.oid in grown | altered),
        tuple(s for s in relations.sequences if sequences[s.oid] != baseline.sequences[s.oid]),
        tuple(objects.keys() - baseline.large_objects.keys()),
        tuple(
            oid
            for oid, described in baseline.large_objects.items()
            if objects.get(oid) != described
        ),
    )


def _compare(
    connection: Connection, baseline: Baseline, relations: Sequence[Relation]
) -> tuple[set[int], set[int]]:
    """Return the ids of relations that have new rows, and of those that lack old ones."""
    grown: set[int] = set()
    altered: set[int] = set()
    newer = baseline.mark.is_newer()
    for batch in batches(relations):
        query = union_all(
            [
                sql.SQL(
                    "SELECT {}::int8, count(*) FILTER (WHERE {newer}), "
                    "count(*) FILTER (WHERE NOT {newer}) FROM ONLY {}"
                ).format(sql.Literal(relation.oid), relation.identifier, newer=newer)
                for relation in batch
            ]
        )
        for oid, new, old in rows(connection, query):
            if new:
                grown.add(oid)
            if old != baseline.kept[oid].rows:
                altered.add(oid)
    return grown, altered
