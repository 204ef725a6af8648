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


def test_the_next_test_s_client_has_nothing_of_the_state_that_one_was_left_in(
    local: Project,
) -> None:
    local.write(
        test_state="""
        import os
        import threading

        import pytest
        import redis

        KEPT = []

        def is_as_new(client):
            connection = client.connection_pool.get_connection("TIME")
            (here,) = [
                each for each in client.client_list() if each["id"] == str(ask(connection))
            ]
            assert here["multi"] == "-1" and here["name"] == "" and here["sub"] == "0"
            assert "t" not in here["flags"] and "O" not in here["flags"]
            assert here["db"] == str(connection.db) and here["user"] == "default"
            assert connection.socket_timeout is None
            client.connection_pool.release(connection)
            assert client.set("own", 1) and client.get("own") == b"1"

        def ask(connection):
            connection.send_command("CLIENT", "ID")
            return connection.read_response()

        def send(client, *command):
            connection = client.connection_pool.get_connection("TIME")
            connection.send_command(*command)
            if command[0] != "SUBSCRIBE":  # which is answered by a message
                connection.read_response()
            client.connection_pool.release(connection)

        def test_first(redis_client):
            is_as_new(redis_client)
            KEPT.append(redis_client.client_id())

        def test_same_connection(redis_client):
            assert redis_client.client_id() == KEPT[0]
            redis_client.config_resetstat()

        def test_is_greeted_once(redis_client):
            said = redis_client.info("commandstats")
            greetings = [said[name]["calls"] for name in ("cmdstat_hello", "cmdstat_auth")
                         if name in said]
            assert redis_client.client_id() == KEPT[0] and greetings == [1]

        @pytest.mark.parametrize("command", [
            ("MULTI",), ("WATCH", "key"), ("SELECT", "0"), ("CLIENT", "SETNAME", "mine"),
            ("CLIENT", "TRACKING", "ON"), ("MONITOR",), ("RESET",),
            ("AUTH", "other", "secret"), ("CLIENT", "NO-EVICT", "ON"), ("SUBSCRIBE", "channel"),
        ])
        def test_leaves(redis_client, command):
            is_as_new(redis_client)
            redis_client.acl_setuser("other", enabled=True, passwords=["+secret"],
                                     commands=["+@all"], keys=["*"])
            try:
                send(redis_client, *command)
            except Exception as error:
                assert "unknown" in str(error).lower(), error

        def test_finds(redis_client):
            is_as_new(redis_client)

        @pytest.mark.parametrize("name, value", [
            ("db", 3), ("client_name", "mine"), ("password", "another"), ("socket_timeout", 9.0),
        ])
        def test_changes_how_it_begins(redis_client, name, value):
            is_as_new(redis_client)
            connection = redis_client.connection_pool.get_connection("TIME")
            setattr(connection, name, value)
            redis_client.connection_pool.release(connection)

        def test_begins_as_usual(redis_client):
            is_as_new(redis_client)

        def test_changes_how_it_decodes(redis_client):
            connection = redis_client.connection_pool.get_connection("TIME")
            connection.encoder.decode_responses = True
            redis_client.connection_pool.release(connection)

        def test_gets_bytes(redis_client):
            is_as_new(redis_client)

        def test_changes_its_client(redis_client):
            redis_client.mine = KEPT[:] = [redis_client.client_id()]
            redis_client.set_response_callback("GET", lambda *args, **options: "changed")

        def test_has_a_client_of_its_own(redis_client):
            is_as_new(redis_client)
            assert [redis_client.client_id()] == KEPT and not hasattr(redis_client, "mine")

        @pytest.fixture
        def other(monkeypatch):
            monkeypatch.setattr(redis, "Redis", type("Other", (redis.Redis,), {}))

        def test_gets_another_class(other, redis_client):
            assert type(redis_client) is redis.Redis and is_as_new(redis_client) is None

        def test_gets_the_usual_class(redis_client):
            assert type(redis_client) is redis.Redis and is_as_new(redis_client) is None

        def test_leaves_an_answer(redis_client):
            connection = redis_client.connection_pool.get_connection("TIME")
            connection.send_command("TIME")
            redis_client.connection_pool.release(connection)

        def test_finds_none(redis_client):
            is_as_new(redis_client)

        def test_changes_the_password(redis_client):
            redis_client.config_set("requirepass", "another")

        def test_signs_in(redis_client):
            is_as_new(redis_client)

        def test_pauses(redis_client):
            redis_client.client_pause(300)

        def test_goes_on(redis_client):
            is_as_new(redis_client)

        def test_ends_all_connections(redis_client):
            KEPT.append(redis_client)
            redis_client.client_kill_filter(_type="normal", skipme=False)

        def test_has_one_again(redis_client):
            is_as_new(redis_client)
            # The client of an earlier test connects by itself.
            assert KEPT[-1].client_id() != redis_client.client_id()

        def test_does_not_give_back(redis_client):
            KEPT.append(redis_client.connection_pool.get_connection("TIME"))

        def test_gets_another(redis_client):
            is_as_new(redis_client)
            assert KEPT[-1] is not redis_client.connection_pool.get_connection("TIME")

        @pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
        def test_in_a_forked_process(redis_client, request):
            redis_client.set("parent", 1)
            child = os.fork()
            if not child:
                namespace = request.getfixturevalue("_redis_namespace")
                with namespace.client(namespace.url) as client:
                    is_well = client.get("parent") == b"1"
                os._exit(0 if is_well else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert redis_client.get("parent") == b"1"

        def test_after_that(redis_client):
            is_as_new(redis_client)
        """
    )
    result = local.run("-p", "no:randomly")
    result.assert_outcomes(passed=37)


def test_a_patch_of_redis_py_s_classes_lasts_no_longer_than_its_test(local: Project) -> None:
    local.write(
        test_patched="""
        import pytest
        import redis

        KEPT = []
        # What redis-py greets with: versions differ.
        GREET = next(name for name in ("on_connect_check_health", "on_connect")
                     if hasattr(redis.Connection, name))

        @pytest.fixture
        def named(monkeypatch):
            greet = getattr(redis.Connection, GREET)

            def greet_and_name(self, *args, **options):
                greet(self, *args, **options)
                self.send_command("CLIENT", "SETNAME", "patched", check_health=False)
                self.read_response()

            monkeypatch.setattr(redis.Connection, GREET, greet_and_name)

        def name(client):
            return client.client_getname() or None

        def test_the_first_connection_is_patched(named, redis_client):
            assert name(redis_client) == "patched"

        def test_is_not(redis_client):
            assert name(redis_client) is None
            KEPT.append(redis_client.client_id())

        def test_is_kept(redis_client):
            assert redis_client.client_id() == KEPT[0]

        def test_is_patched(named, redis_client):
            assert name(redis_client) == "patched"

        def test_is_not_again(redis_client):
            assert name(redis_client) is None

        def test_patches_until_its_client_is_closed(monkeypatch, redis_client):
            redis_client.ping()
            monkeypatch.setattr(redis.Connection, "send_packed_command",
                                lambda *_, **__: pytest.fail("it is used after the test"))

        def test_is_still_not(redis_client):
            assert name(redis_client) is None
        """
    )
    local.run("-p", "no:randomly").assert_outcomes(passed=7)
