"""Databases that hold what failed tests have done: their names, and the proof of what they are.

Such a database is a clone of the run's template into which a test's rows were copied
(`copy_contents`), or a test's private database under another name. Its comment says until when it
stays. Before that is written it is known by its limit of connections, as one in the making.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import debug
from pytest_berth.errors import NotOursError
from pytest_berth.services.postgres.databases import run_databases

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from pytest_berth.api import Server

_PREFIX = "berth_kept_"
_LONGEST = 63
_UNTIL = "kept until "
_COMMENT = f"{run_databases.MARK}: {_UNTIL}"
# Of which a comment proves that it is kept, and until when.
_TIME = f"""
(pg_catalog.regexp_match(
  pg_catalog.shobj_description(d.oid, 'pg_database'), '^{_COMMENT}(\\S+) for '
))[1]::timestamptz
"""
# Of a row ``d`` of pg_database.
IS_KEPT = f"(pg_catalog.starts_with(d.datname, '{_PREFIX}') AND {_TIME} IS NOT NULL)"
_STAYS = f"SELECT datname FROM pg_catalog.pg_database d WHERE {IS_KEPT} AND {_TIME} >= %s"
_OVER = f"""
SELECT datname FROM pg_catalog.pg_database d
WHERE {IS_KEPT} AND {_TIME} < %s AND pg_catalog.pg_has_role(datdba, 'MEMBER')
"""
_PROVEN = f"SELECT FROM pg_catalog.pg_database d WHERE datname = %s AND {IS_KEPT}"


def name(of: str, database: str = "") -> str:
    """Return the name of a kept database.

    Args:
        of: What no other failure is called.
        database: Which of several, where a test has several.
    """
    return f"{_PREFIX}{run_databases.part(of, database)}"[:_LONGEST]


def create(
    server: Server,
    kept: str,
    template: str,
    nodeid: str,
    until: float,
    fill: Callable[[str], None],
) -> None:
    """Create a kept database, and fill it; where that fails, nothing is left of it.

    Args:
        server: Where it is to be.
        kept: Its name.
        template: What it is a clone of.
        nodeid: The test.
        until: Until when it stays, in seconds since 1970.
        fill: Writes into the database of that name.
    """
    with run_databases.administration(server) as connection:
        run_databases.create_in_the_making(connection, kept, template)
        try:
            fill(kept)
            run_databases.mark_made(connection, kept, _text(nodeid, until))
        except BaseException:
            run_databases.remove(connection, kept)
            raise


def set_aside(server: Server, database: str, kept: str, nodeid: str, until: float) -> None:
    """Give a private database a kept one's name and comment, ending what is connected to it."""
    with run_databases.administration(server) as connection:
        run_databases.rename(connection, database, kept)
        run_databases.comment(connection, kept, _text(nodeid, until))


def staying(connection: psycopg.Connection[Any], now: float) -> list[str]:
    """Return the kept databases whose time is not over."""
    return _names(connection, _STAYS, now)


def drop_over(connection: psycopg.Connection[Any], now: float) -> None:
    """Drop the kept databases whose time is over, unless somebody is at it."""
    import psycopg

    for database in _names(connection, _OVER, now):
        if run_databases.is_used(connection, database):
            debug("%s stays until it is looked at again: somebody is connected to it", database)
            continue
        try:
            run_databases.remove(connection, database)
        except (psycopg.Error, TimeoutError) as error:
            debug("%s stays until it is looked at again: %s", database, error)


def drop_all(connection: psycopg.Connection[Any]) -> None:
    """Drop all kept databases of a server that ends."""
    for database in _names(connection, _OVER, float("inf")):
        run_databases.remove(connection, database)


def drop(server: Server, database: str) -> None:
    """Drop one of them.

    Raises:
        NotOursError: Nothing proves that it is one, or somebody uses it.
    """
    with run_databases.administration(server) as connection:
        if not run_databases.exists(connection, database):
            return
        if not connection.execute(_PROVEN.encode(), [database]).fetchall():
            raise NotOursError(
                f"refused to drop the database {database!r}: nothing proves that berth keeps it.",
                why=f"its comment does not begin with {_COMMENT!r}",
                remedy=f"DROP DATABASE {database}  -- only if all its data may go",
            )
        if run_databases.is_used(connection, database):
            raise NotOursError(
                f"refused to drop the database {database!r}: somebody is connected to it.",
                why="a shell or another program looks at what is kept there",
                remedy="end that, and run `pytest-berth prune` again",
            )
        run_databases.remove(connection, database)


def _names(connection: psycopg.Connection[Any], query: str, now: float) -> list[str]:
    when = "infinity" if now == float("inf") else _iso(now)
    return [name for (name,) in connection.execute(query.encode(), [when]).fetchall()]


def _text(nodeid: str, until: float) -> str:
    return f"{_UNTIL}{_iso(until)} for {nodeid}"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat()
