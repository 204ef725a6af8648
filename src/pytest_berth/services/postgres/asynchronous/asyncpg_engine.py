"""Makes SQLAlchemy's async engines and connections with asyncpg.

asyncpg's connections belong to the event loop that they were opened in. So they are opened by the
test's first statement, and closed without asking the loop, which may be gone by then.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from pytest_berth.compat import asyncio_private, asyncpg_private, sqlalchemy_private
from pytest_berth.debug_log import ignoring
from pytest_berth.services.postgres import urls
from pytest_berth.services.postgres.asynchronous.open_connections import connections

if TYPE_CHECKING:
    from pytest_berth.services.postgres.asynchronous.open_connections import Resource
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
        _hang_up(connection.connection.driver_connection)
        connection.invalidate()


def _hang_up(connection: Any) -> None:
    """Close the socket now: the server is to end the transaction before the clean-up looks."""
    transport = asyncpg_private.transport(connection)
    if transport is None:
        return
    with ignoring(OSError, why="the server has hung up already"):
        transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    asyncio_private.abort(transport)
