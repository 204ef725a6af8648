"""The fixtures of MongoDB, besides those that every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo import AsyncMongoClient, MongoClient
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.database import Database

    from pytest_berth.services.mongodb.namespace import MongoNamespace


@pytest.fixture
def mongo_client(_mongo_isolation: MongoNamespace) -> MongoClient[dict[str, Any]]:
    """Pymongo's client; its default database is this worker's.

    Scope: function. Tests of a worker use one after the other, as a new one takes 10 ms; one that
    a test has closed is made anew. A closed port is told within 5 s.
    """
    return _mongo_isolation.client


@pytest.fixture
def mongo_database(mongo_client: MongoClient[dict[str, Any]]) -> Database[dict[str, Any]]:
    """Pymongo's database: this worker's own, clean for each test.

    Scope: function.
    """
    return mongo_client.get_default_database()


@pytest.fixture
def mongo_async_client(
    _mongo_isolation: None, mongo_url: str
) -> Iterator[AsyncMongoClient[dict[str, Any]]]:
    """Pymongo's client for asyncio; its default database is this worker's.

    Scope: function. It connects at its first command, in whichever event loop that runs, and need
    not be closed.
    """
    from pytest_berth.services.mongodb import async_clients

    with async_clients.opened(mongo_url) as client:
        yield client


@pytest.fixture
def mongo_async_database(
    mongo_async_client: AsyncMongoClient[dict[str, Any]],
) -> AsyncDatabase[dict[str, Any]]:
    """Pymongo's database for asyncio: this worker's own, clean for each test.

    Scope: function.
    """
    return mongo_async_client.get_default_database()
