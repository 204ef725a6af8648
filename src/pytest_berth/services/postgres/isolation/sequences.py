"""Sequences of rolled-back tests: PostgreSQL does not roll them back, so they are set back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from pytest_berth.services.postgres.isolation.rollback_connection import OuterTransaction
    from pytest_berth.services.postgres.isolation.rollback_connection_psycopg2 import (
        OuterTransaction2,
    )

_NAMES = """
SELECT s.seqrelid::text, n.nspname, c.relname
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relpersistence <> 't'
"""
_SET = b"SELECT pg_catalog.setval(%b::regclass, %b)"


@dataclass
class Sequences:
    """Where the sequences of a database stood before a test.

    A signature, as `OuterTransaction` returns it, is ``oid=value`` for each sequence.

    Attributes:
        connection: The connection of rolled-back tests, outside a transaction of its own.
    """

    connection: OuterTransaction | OuterTransaction2
    _signature: bytes | None = field(default=None, init=False)
    _states: dict[bytes, bytes] = field(default_factory=dict, init=False)

    def remember(self, signature: bytes) -> None:
        """Read the states anew if the signature says that they have changed."""
        if signature != self._signature:
            self._states = self._read()
            self._signature = signature

    def put_back(self, signature: bytes) -> None:
        """Set those sequences back of which the signature says that a test has used them."""
        if signature == self._signature:
            return
        moved = set(signature.split()) - set((self._signature or b"").split())
        oids = [entry.partition(b"=")[0] for entry in moved]
        statements = [_SET % (oid, self._states[oid]) for oid in oids if oid in self._states]
        if statements:
            self.connection.send(b"; ".join(statements))

    def _read(self) -> dict[bytes, bytes]:
        """Return the arguments of ``setval`` that bring each sequence back, by its oid."""
        names = self.connection.fetch(_NAMES)
        queries = [
            sql.SQL("SELECT {}::text, last_value || ', ' || is_called FROM {}").format(
                oid, sql.Identifier(schema, name)
            )
            for oid, schema, name in names
        ]
        if not queries:
            return {}
        found = self.connection.fetch(sql.SQL(" UNION ALL ").join(queries))
        return {oid.encode(): arguments.encode() for oid, arguments in found}
