"""SQLAlchemy's engine, connections and sessions for asyncio, with aiomysql.

aiomysql's connections belong to the event loop that they were opened in. So they are opened by the
test's first statement, and closed without asking the loop, which may be gone by then.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_berth.compat import aiomysql_private, sqlalchemy_private
from pytest_berth.errors import require_package
from pytest_berth.isolation.async_connections import connections, hang_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

    from pytest_berth.isolation.async_connections import Resource

DRIVER = "aiomysql"


def engine(url: str) -> AsyncEngine:
    """Return an engine for any event loop: without a pool, as that would tie it to one.

    Raises:
        MissingExtraError: aiomysql, SQLAlchemy or greenlet is not installed.
    """
    for package in (DRIVER, "sqlalchemy", "greenlet"):
        require_package(package, DRIVER, needed_by="mysql_async_engine")
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    return create_async_engine(url, poolclass=NullPool)


@contextmanager
def connection(engine: AsyncEngine) -> Iterator[AsyncConnection]:
    """Yield a connection that opens at its first statement."""
    from sqlalchemy.ext.asyncio import AsyncConnection

    opened = AsyncConnection(engine, sqlalchemy_private.unconnected(engine.sync_engine))
    try:
        yield opened
    finally:
        _close(opened)


@contextmanager
def session(engine: AsyncEngine) -> Iterator[AsyncSession]:
    """Yield a session; it need not be closed."""
    from sqlalchemy.ext.asyncio import AsyncSession

    opened = AsyncSession(engine, expire_on_commit=False)
    try:
        yield opened
    finally:
        _close(opened)


def _close(resource: Resource) -> None:
    for each in connections(resource):
        connection = each.connection.driver_connection
        transport = aiomysql_private.transport(connection)
        if transport is not None:
            hang_up(transport)
        aiomysql_private.forget_transport(connection)
        each.invalidate()
