"""Asks what the role may do that we connect as: that decides where tests can work."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

_QUERY = """
SELECT r.rolsuper, r.rolcreatedb, pg_has_role(r.oid, d.datdba, 'MEMBER'), d.datname
FROM pg_roles r, pg_database d
WHERE r.rolname = current_user AND d.datname = current_database()
"""


class Rights(NamedTuple):
    """Rights of a role on a server and on the database that its URL names."""

    superuser: bool
    create_databases: bool
    owner: bool
    database: str

    @property
    def own_databases(self) -> bool:
        """Whether tests can work in databases that berth creates and drops."""
        return self.superuser or self.create_databases

    def may_reset(self, allowed: Sequence[str]) -> bool:
        """Tell whether the given database may be reset: it is named by a glob of the settings."""
        return any(fnmatchcase(self.database, pattern) for pattern in allowed)

    def __str__(self) -> str:
        """Return what was found, for the report."""
        if self.superuser:
            return "superuser"
        if self.create_databases:
            return "role with CREATEDB"
        return "database owner" if self.owner else "plain role"


def find(connection: psycopg.Connection[Any]) -> Rights:
    """Ask the server for the rights of the connected role."""
    row = connection.execute(_QUERY).fetchone()
    assert row is not None, "a connected role has a row in pg_roles"
    return Rights(*row)
