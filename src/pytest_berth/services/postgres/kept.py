"""Templates that a snapshot or a kept server holds: schema and seeds, applied by an earlier run.

A template whose fingerprint is known bears it in its comment. When the server or its data is kept,
it is renamed after it, and a later run that wants the same copies it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_berth.services.postgres import databases, shared

if TYPE_CHECKING:
    import psycopg

    from pytest_berth.lifecycle.state import Berth
    from pytest_berth.service import Server
    from pytest_berth.services.postgres.schema import Step

MOST = 3
NAMES = "^berth_template_[0-9a-f]{16}$"
_MARK = r"pytest-berth: kept as (berth_template_[0-9a-f]{16})"
_OF_RUN = """
SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
WHERE pg_catalog.starts_with(datname, %s) AND datistemplate
"""
# Before a template is dropped it is made none: another one of such a name is what is left of it.
_NAMED = """
SELECT datname FROM pg_catalog.pg_database WHERE datname ~ %s AND datistemplate = %s
ORDER BY oid DESC
"""


@dataclass(frozen=True)
class Kept:
    """The template for a schema and seeds, as a snapshot may hold it.

    Attributes:
        connection: To the server, in autocommit mode.
        name: What it is called where it is kept; None where that cannot be.
    """

    connection: psycopg.Connection[Any]
    name: str | None

    def find(self) -> str | None:
        """Return the template of an earlier run, if there is one."""
        return self.name if self.name in _named(self.connection) else None

    def lend(self, made: str) -> str:
        """Make the template of an earlier run this run's, until `rename` gives its name back."""
        databases.execute(self.connection, "ALTER DATABASE {} RENAME TO {}", str(self.name), made)
        return made

    def mark(self, database: str) -> None:
        """Write down under which name a new template can be kept."""
        if self.name:
            databases.comment(self.connection, database, f"kept as {self.name}")


def kept(
    berth: Berth, server: Server, steps: tuple[Step, ...], connection: psycopg.Connection[Any]
) -> Kept:
    """Return the template for schema and seeds as they are now."""
    lasts = server.snapshot or server.kept
    return Kept(connection, shared.template_name(berth, server, steps) if lasts else None)


def rename(connection: psycopg.Connection[Any], run_id: str) -> bool:
    """Give the run's templates the names that they are kept under; tell whether there were any."""
    for left in _named(connection, whole=False):
        databases.remove(connection, left)
    known, found = set(_named(connection)), False
    rows = connection.execute(_OF_RUN, [databases.database_name(run_id, "")]).fetchall()
    for database, comment in rows:
        marked = re.fullmatch(_MARK, comment or "")
        if marked and marked[1] not in known:
            databases.execute(connection, "ALTER DATABASE {} RENAME TO {}", database, marked[1])
            known.add(marked[1])
            found = True
    return found


def drop_oldest(connection: psycopg.Connection[Any]) -> None:
    """Drop all but the newest templates."""
    for name in _named(connection)[MOST:]:
        databases.remove(connection, name)


def _named(connection: psycopg.Connection[Any], *, whole: bool = True) -> list[str]:
    """Return the templates, newest first; or what is left of those whose drop was interrupted."""
    return [name for (name,) in connection.execute(_NAMED, [NAMES, whole]).fetchall()]
