"""Templates that a snapshot or a kept server holds: schema and seeds, applied by an earlier run.

A template whose fingerprint is known bears it in its comment. When the server or its data is kept,
it is renamed after it, and a later run that wants the same copies it. The comment also tells the
checkpointer of the server that it was made on: a template from before a crash is not used any more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.services.postgres.databases import run_databases, template_name
from pytest_berth.services.postgres.server import backend_crash

if TYPE_CHECKING:
    import psycopg

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.services.postgres.schema import Step

MOST = 3
_MARK = r"pytest-berth: (?:kept as (berth_template_[0-9a-f]{16}), )?made under process (.+)"
_COMMENT = """
SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
WHERE datname = %s
"""
_OF_RUN = """
SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
WHERE pg_catalog.starts_with(datname, %s) AND datistemplate
"""
# Before a template is dropped it is made none: another one of such a name is what is left of it.
_NAMED = """
SELECT datname FROM pg_catalog.pg_database WHERE datname ~ %s AND datistemplate = %s
ORDER BY oid DESC
"""


class StoredTemplate(NamedTuple):
    """The template for a schema and seeds, as a snapshot may hold it.

    Attributes:
        connection: To the server, in autocommit mode.
        name: Its name on the server or in the snapshot; None where it has no known fingerprint.
        reused: Whether the server runs since an earlier run.
    """

    connection: psycopg.Connection[Any]
    name: str | None
    reused: bool = False

    def find(self) -> str | None:
        """Return the template of an earlier run, if there is one that can be trusted."""
        if not self.name or self.name not in _named(self.connection):
            return None
        if self.reused and not is_intact(self.connection, self.name):
            run_databases.remove(self.connection, self.name)
            return None
        return self.name

    def rename_for_run(self, made: str) -> str:
        """Rename the template of an earlier run for this run; `rename` gives its name back."""
        run_databases.execute(
            self.connection, "ALTER DATABASE {} RENAME TO {}", str(self.name), made
        )
        return made

    def mark(self, database: str, *, keeps: bool = True) -> None:
        """Comment a template with its server's checkpointer, and the name to store it under."""
        named = f"kept as {self.name}, " if keeps and self.name else ""
        process = backend_crash.checkpointer(self.connection)
        run_databases.comment(self.connection, database, f"{named}made under process {process}")


def is_intact(connection: psycopg.Connection[Any], template: str) -> bool:
    """Tell whether the server has not crashed since a template was marked."""
    row = connection.execute(_COMMENT, [template]).fetchone()
    return _checkpointer_of(row[0] if row else None) == backend_crash.checkpointer(connection)


def stored_template(
    berth: PluginState, server: Server, steps: tuple[Step, ...], connection: psycopg.Connection[Any]
) -> StoredTemplate:
    """Return the template for schema and seeds as they are now."""
    lasts = server.snapshot or server.reuse_record
    name = template_name.of(berth, server, steps) if lasts else None
    return StoredTemplate(connection, name, server.reattached)


def rename(connection: psycopg.Connection[Any], run_id: str) -> bool:
    """Give the run's templates their stored names; return whether there were any.

    Where the server has crashed since they were made, none is kept.
    """
    for left in _named(connection, whole=False):
        run_databases.remove(connection, left)
    rows = connection.execute(_OF_RUN, [run_databases.database_name(run_id, "")]).fetchall()
    if rows and {_checkpointer_of(comment) for _, comment in rows} != {
        backend_crash.checkpointer(connection)
    }:
        drop_all(connection)
        return False
    known, found = set(_named(connection)), False
    for database, comment in rows:
        marked = re.fullmatch(_MARK, comment or "")
        if marked and marked[1] and marked[1] not in known:
            run_databases.execute(connection, "ALTER DATABASE {} RENAME TO {}", database, marked[1])
            known.add(marked[1])
            found = True
    return found


def drop_all(connection: psycopg.Connection[Any]) -> None:
    """Drop the templates of earlier runs: the server has crashed."""
    for name in _named(connection):
        run_databases.remove(connection, name)


def drop_oldest(connection: psycopg.Connection[Any]) -> None:
    """Drop all but the newest templates."""
    for name in _named(connection)[MOST:]:
        run_databases.remove(connection, name)


def _named(connection: psycopg.Connection[Any], *, whole: bool = True) -> list[str]:
    """Return the templates, newest first; or what is left of those whose drop was interrupted."""
    return [
        name for (name,) in connection.execute(_NAMED, [template_name.PATTERN, whole]).fetchall()
    ]


def _checkpointer_of(comment: str | None) -> str | None:
    marked = re.fullmatch(_MARK, comment or "")
    return marked[2] if marked else None
