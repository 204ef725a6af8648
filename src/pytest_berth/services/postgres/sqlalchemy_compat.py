"""SQLAlchemy, imported only for what gives something of it: projects without it have the rest.

Version 2 works with psycopg 3. Version 1.4 does not know that driver, and works with psycopg2.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_berth.compat import sqlalchemy_private
from pytest_berth.errors import BerthError, MissingExtraError, PackageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

version = sqlalchemy_private.version
FIXTURES = ("pg_engine", "pg_connection", "pg_session")
ASYNC_FIXTURES = ("pg_async_engine", "pg_async_connection", "pg_async_session")
_TWO = (2, 0)
# Of the connections behind a pool's, and of pools for asyncio, older ones do not tell.
_OLDEST, _OLDEST_FOR_ASYNCIO = (1, 4, 26), (2, 0, 16)
_WITHOUT = "pg_url, pg_dsn, pg_server and berth_export work without it"


def is_two() -> bool:
    """Tell whether version 2 is installed, or a later one."""
    return version() >= _TWO


def driver() -> str:
    """Return the driver that URLs name; none without SQLAlchemy, as others know no such names."""
    if not version():
        return ""
    return "psycopg" if is_two() else "psycopg2"


def require(needed_by: str, *, asyncio: bool = False, instead: str = _WITHOUT) -> None:
    """Look whether SQLAlchemy is there, and fit; the arguments are those of `obstacle`.

    Raises:
        MissingExtraError: It is not installed.
        PackageError: It is too old, or its driver is missing.
    """
    error = obstacle(needed_by, asyncio=asyncio, instead=instead)
    if error:
        raise error


def obstacle(
    needed_by: str, *, asyncio: bool = False, instead: str = _WITHOUT
) -> BerthError | None:
    """Return what to tell where SQLAlchemy is missing, or does not fit.

    Args:
        needed_by: What needs it: the fixture's name.
        asyncio: Whether it is for asyncio, which takes version 2.
        instead: What can be done in its place.
    """
    found, oldest = version(), _OLDEST_FOR_ASYNCIO if asyncio else _OLDEST
    if not found:
        return MissingExtraError("sqlalchemy", "sqlalchemy", needed_by=needed_by)
    if found < oldest:
        return PackageError(
            f"{needed_by} needs SQLAlchemy {_dotted(oldest)} or newer.",
            why=f"SQLAlchemy {_dotted(found)} is installed",
            remedy=f'pip install "sqlalchemy>={_dotted(oldest)}"; {instead}',
        )
    if not is_two() and find_spec("psycopg2") is None:
        return PackageError(
            f"{needed_by} needs the package 'psycopg2'.",
            why=f"SQLAlchemy {_dotted(found)} is installed, which does not know psycopg 3",
            remedy=f'pip install psycopg2-binary, or "sqlalchemy>=2"; {instead}',
        )
    return None


def require_for(fixtures: Collection[str]) -> None:
    """Look whether SQLAlchemy is there, and fit, for a test with these fixtures.

    Raises:
        MissingExtraError: It is not installed.
        PackageError: It is too old, or its driver is missing.
    """
    for name in (*FIXTURES, *ASYNC_FIXTURES):
        if name in fixtures:
            require(name, asyncio=name in ASYNC_FIXTURES)


def load() -> None:
    """Import it with its dialect, which every engine needs."""
    import_module("sqlalchemy.dialects.postgresql")


def engine(url: str, needed_by: str) -> Engine:
    """Return a new engine for what needs one.

    Raises:
        MissingExtraError: SQLAlchemy is not installed.
        PackageError: It is too old, or its driver is missing.
    """
    require(needed_by)
    from sqlalchemy import create_engine

    return create_engine(url)


def session(bind: Connection | Engine) -> Session:
    """Return a session; on a connection with a transaction its commits are savepoints.

    Version 1.4 cannot make them savepoints: there, such a transaction is the session's, too.
    """
    from sqlalchemy.orm import Session

    if is_two():
        return Session(bind, join_transaction_mode="create_savepoint")
    return Session(bind)


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
