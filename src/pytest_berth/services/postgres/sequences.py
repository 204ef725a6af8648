"""Sequences of rolled-back tests: PostgreSQL does not roll them back, so they are set back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

_NAMES = """
SELECT s.seqrelid::int8, n.nspname, c.relname
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relpersistence <> 't'
"""
_SET = """
SELECT pg_catalog.setval(oid::oid::regclass, value, called)
FROM unnest(%s::int8[], %s::int8[], %s::bool[]) AS states (oid, value, called)
"""


@dataclass
class Sequences:
    """Where the sequences of a database stood before a test.

    Attributes:
        connection: The connection of rolled-back tests, outside a transaction of its own.
    """

    connection: psycopg.Connection[Any]
    _signature: bytes | None = field(default=None, init=False)
    _states: list[tuple[int, int, bool]] = field(default_factory=list, init=False)

    def remember(self, signature: bytes) -> None:
        """Read the states anew if the signature says that they have changed."""
        if signature != self._signature:
            self._states = self._read()
            self._signature = signature

    def put_back(self, signature: bytes) -> None:
        """Set all sequences back if the signature says that a test has used one."""
        if signature != self._signature and self._states:
            with self.connection.transaction():
                self.connection.execute(
                    _SET, [list(column) for column in zip(*self._states, strict=True)]
                )

    def _read(self) -> list[tuple[int, int, bool]]:
        names = self.connection.execute(_NAMES).fetchall()
        queries = [
            sql.SQL("SELECT {}::int8, last_value, is_called FROM {}").format(
                oid, sql.Identifier(schema, name)
            )
            for oid, schema, name in names
        ]
        if not queries:
            return []
        return self.connection.execute(sql.SQL(" UNION ALL ").join(queries)).fetchall()
