"""The clients that tests get."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from pytest_berth.services.redis import clients

if TYPE_CHECKING:
    from conftest import Project


def test_a_blocking_command_waits_as_long_as_it_says(local: Project) -> None:
    local.write(
        test_blocking="""
        import time

        def test_waits(redis_client):
            began = time.monotonic()
            assert redis_client.blpop(["nothing"], timeout=6) is None
            assert time.monotonic() - began > 5.9
        """
    )
    local.run().assert_outcomes(passed=1)


def test_a_closed_port_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redis.retry.sleep", lambda _: pytest.fail("it is tried again"))
    client = clients.client("redis://127.0.0.1:1/0")
    with pytest.raises(redis.ConnectionError):
        client.ping()


def test_keys_and_values_are_bytes_and_the_fixture_can_be_overridden(local: Project) -> None:
    local.conftest(
        """
        import pytest
        import redis

        @pytest.fixture
        def redis_text(redis_url):
            with redis.Redis.from_url(redis_url, decode_responses=True) as client:
                yield client
        """
    )
    local.write(
        test_types="""
        def test_types(redis_client, redis_text):
            redis_client.set("key", "ö")
            assert redis_client.get("key") == "ö".encode()
            assert redis_text.get("key") == "ö"
        """
    )
    local.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("loop", ["function", "session"])
def test_the_client_for_asyncio_serves_every_loop_and_leaves_no_warning(
    local: Project, loop: str
) -> None:
    local.plugins = ("asyncio",)
    local.ini(
        "filterwarnings = error",
        # On Python 3.10, pytest-asyncio leaves a loop open: this is its wake-up socket.
        "    ignore:Exception ignored in. .socket.socket fd=.*AF_UNIX",
        "asyncio_mode = auto",
        f"asyncio_default_fixture_loop_scope = {loop}",
        f"asyncio_default_test_loop_scope = {loop}",
    )
    local.write(
        test_async="""
        import asyncio
        import gc

        async def test_one(redis_async_client):
            await redis_async_client.set("one", 1)
            assert await redis_async_client.keys() == [b"one"]

        async def test_two(redis_async_client, redis_client):
            assert await redis_async_client.keys() == []
            await asyncio.gather(*(redis_async_client.incr("n") for _ in range(10)))
            assert redis_client.get("n") == b"10"

        async def test_subscription_left_open(redis_async_client):
            await redis_async_client.pubsub().subscribe("channel")

        def test_in_a_loop_of_the_test_s_own(redis_async_client):
            assert asyncio.run(redis_async_client.ping()) is True

        def test_never_used(redis_async_client):
            pass

        def test_collected():
            gc.collect()
        """
    )
    local.run().assert_outcomes(passed=6)


def test_connections_are_closed_with_their_test(local: Project) -> None:
    local.write(
        test_connections="""
        import pytest

        @pytest.mark.parametrize("number", range(5))
        def test_leaves_a_subscription(redis_client, number):
            assert redis_client.info("clients")["connected_clients"] <= 2
            redis_client.pubsub().subscribe("channel")
        """
    )
    local.run().assert_outcomes(passed=5)
