"""Makes SQLAlchemy's async engines and connections with psycopg."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.util import greenlet_spawn

from pytest_berth.isolation.async_connections import connections
from pytest_berth.services.postgres.asynchronous.loop_free_psycopg import LoopFree, OuterView
from pytest_berth.services.postgres.asynchronous.run_coroutine import at_once

if TYPE_CHECKING:
    from pytest_berth.isolation.async_connections import Resource
    from pytest_berth.services.postgres.databases.database import Database
    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase


def engine(place: IsolatedDatabase | Database) -> AsyncEngine:
    """Return an engine for any event loop: without a pool, as that would tie it to one."""
    return create_async_engine(
        place.url, async_creator=partial(LoopFree.open, place.dsn), poolclass=NullPool
    )


def pinned_engine(database: IsolatedDatabase, view: OuterView) -> AsyncEngine:
    """Return an engine whose only connection is that of rolled-back tests."""

    async def creator() -> OuterView:
        return view

    return create_async_engine(database.url, async_creator=creator, poolclass=StaticPool)


def connect(engine: AsyncEngine) -> AsyncConnection:
    """Return an open connection."""
    return at_once(engine.connect().start())


def close(resource: Resource) -> None:
    """Give back the connection of a session, or close a connection."""
    for connection in connections(resource):
        session: Any = connection.connection.driver_connection
        if session.busy:  # by a task that has outlived its test
            session.abandon()
            at_once(greenlet_spawn(connection.invalidate))
    at_once(resource.close())
