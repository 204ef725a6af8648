"""Each driver tells where it connects to while somebody watches, and is as before afterwards."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

import aiokafka
import kafka
import psycopg
import pytest
import redis
from redis import asyncio as async_redis

from pytest_berth.isolation import driver_hooks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.isolation.running_server import RunningServer


@pytest.fixture
def seen() -> Iterator[list[driver_hooks.Place]]:
    """The places that are connected to in the test."""
    found: list[driver_hooks.Place] = []
    for name in driver_hooks.HOOKS:
        importlib.import_module(name)
    watch = driver_hooks.Watch(found.append)
    watch.start()
    watch.start()
    yield found
    watch.stop()


def test_what_is_replaced_in_drivers_is_there_and_is_put_back() -> None:
    def now() -> list[object]:
        modules = {name: importlib.import_module(name) for name in driver_hooks.HOOKS}
        hooks = [each for name, find in driver_hooks.HOOKS.items() for each in find(modules[name])]
        return [vars(owner)[attribute] for owner, attribute, _ in hooks]

    before = now()
    watch = driver_hooks.Watch(print)
    watch.start()
    assert not any(old is new for old, new in zip(before, now(), strict=True))
    watch.stop()
    assert now() == before


def test_postgres(pg_dsn: str, pg_server: RunningServer, seen: list[driver_hooks.Place]) -> None:
    with psycopg.connect(pg_dsn) as connection:
        database = connection.info.dbname
    (place,) = seen
    assert (place.port, place.database) == (pg_server.port, database)
    assert pg_server.host in place.hosts


def test_redis(redis_url: str, redis_server: RunningServer, seen: list[driver_hooks.Place]) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.ping()

    async def work() -> None:
        async with async_redis.Redis.from_url(redis_url) as client:
            await client.ping()  # type: ignore[misc,unused-ignore]

    asyncio.run(work())
    place = driver_hooks.Place("redis", (redis_server.host,), redis_server.port)
    assert set(seen) == {place}
    assert len(seen) >= 2


def test_kafka(
    kafka_bootstrap: str, kafka_server: RunningServer, seen: list[driver_hooks.Place]
) -> None:
    kafka.KafkaProducer(bootstrap_servers=[kafka_bootstrap]).close()

    async def work() -> None:
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=kafka_bootstrap):
            pass

    asyncio.run(work())
    place = driver_hooks.Place("kafka", (kafka_server.host,), kafka_server.port)
    assert set(seen) == {place}
    assert len(seen) == 2
