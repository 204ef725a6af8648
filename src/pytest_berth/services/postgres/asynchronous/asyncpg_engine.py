"""Makes SQLAlchemy's async engines and connections with asyncpg.

asyncpg's connections belong to the event loop that they were opened in. So they are opened by the
test's first statement, and closed without asking the loop, which may be gone by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from pytest_berth.compat import asyncpg_private, sqlalchemy_private
from pytest_berth.isolation.async_connections import connections, hang_up
from pytest_berth.services.postgres import urls

if TYPE_CHECKING:
    from pytest_berth.isolation.async_connections import Resource
    from pytest_berth.services.postgres.databases.database import Database
    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase


def engine(place: IsolatedDatabase | Database) -> AsyncEngine:
    """Return an engine for any event loop: without a pool, as that would tie it to one."""
    url = urls.url(place.server, place.database, "asyncpg")
    return create_async_engine(url, poolclass=NullPool)


def connect(engine: AsyncEngine) -> AsyncConnection:
    """Return a connection that opens at its first statement."""
    return AsyncConnection(engine, sqlalchemy_private.unconnected(engine.sync_engine))


def close(resource: Resource) -> None:
    """End the connections of a session, or a connection."""
    for connection in connections(resource):
        transport = asyncpg_private.transport(connection.connection.driver_connection)
        if transport is not None:
            hang_up(transport)
        connection.invalidate()
