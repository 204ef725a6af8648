"""Reads what a database holds, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore.transactions import (
    BATCH,
    Connection,
    row,
    rows,
    union_all,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_berth.services.postgres.restore.catalog import Relation


@dataclass(frozen=True)
class Storage:
    """Which file a relation is in, and whether it may be read."""

    filenode: int
    populated: bool


@dataclass(frozen=True)
class SequenceState:
    """Where a sequence stands.

    Attributes:
        ahead: Whether it has values in advance: it gives them away without a transaction id.
    """

    last: int
    called: bool
    ahead: bool

    @property
    def value(self) -> tuple[int, bool]:
        """``last_value`` and ``is_called``."""
        return self.last, self.called


def read_sequences(
    connection: Connection, sequences: Sequence[Relation]
) -> dict[int, SequenceState]:
    """Return where each sequence stands."""
    found: dict[int, SequenceState] = {}
    for batch in batches(sequences):
        query = union_all(
            [
                sql.SQL("SELECT {}, last_value, is_called, log_cnt > 0 FROM {}").format(
                    sql.Literal(sequence.oid), sequence.identifier
                )
                for sequence in batch
            ]
        )
        found |= {oid: SequenceState(*states) for oid, *states in rows(connection, query)}
    return found


def storage_query(oids: Sequence[int]) -> sql.Composed:
    """Return the query for the storage of relations."""
    return sql.SQL(
        "SELECT oid::int8, relfilenode::int8, relispopulated FROM pg_catalog.pg_class "
        "WHERE oid = ANY (ARRAY[{}]::oid[])"
    ).format(sql.SQL(", ").join(map(sql.Literal, oids)))


def storage_of(found: Iterable[Sequence[int]]) -> dict[int, Storage]:
    """Return the rows of a storage query by relation."""
    return {oid: Storage(node, bool(populated)) for oid, node, populated in found}


def with_rows(connection: Connection, tables: Sequence[Relation]) -> list[Relation]:
    """Return the tables that are not empty."""
    found: list[Relation] = []
    for batch in batches(tables):
        flags = [sql.SQL("EXISTS (SELECT FROM ONLY {})").format(t.identifier) for t in batch]
        (filled,) = row(connection, sql.SQL("SELECT ARRAY[{}]").format(sql.SQL(", ").join(flags)))
        found += [table for table, has_rows in zip(batch, filled, strict=True) if has_rows]
    return found


def batches(relations: Sequence[Relation]) -> list[Sequence[Relation]]:
    """Cut *relations* into pieces that one query can name."""
    return [relations[start : start + BATCH] for start in range(0, len(relations), BATCH)]
