"""The fixtures of Redis, besides those that every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    import redis.asyncio

    from pytest_berth.services.redis.namespace import RedisNamespace


@pytest.fixture
def redis_client(
    _redis_isolation: None, _redis_namespace: RedisNamespace, redis_url: str
) -> Iterator[redis.Redis]:
    """redis-py's client, connected to this worker's database number.

    Scope: function. It returns bytes, as redis-py's own default is; blocking commands wait as long
    as they say, and a closed port is told at once.
    """
    with _redis_namespace.client(redis_url) as client:
        yield client


@pytest.fixture
def redis_async_client(_redis_isolation: None, redis_url: str) -> Iterator[redis.asyncio.Redis]:
    """redis-py's client for asyncio, connected to this worker's database number.

    Scope: function. It connects at its first command, in whichever event loop that runs, and need
    not be closed.
    """
    from pytest_berth.services.redis import clients

    with clients.closing_async(clients.async_client(redis_url)) as client:
        yield client
