"""What a failing test's report tells of Redis: what it changed, left behind, and ran into."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_berth.run.reuse import kept_states
from pytest_berth.services.redis import urls
from report_sections import did, sections

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis
    from tests.services.redis.conftest import Yard

    from conftest import Project

CHANGED, LEFT = "redis: what the test changed", "redis: what the test left behind"
KNOWN, LOOK = "redis: what the server knows of the error", "redis: look yourself"


def test_keys_that_a_test_has_changed(local: Project) -> None:
    local.ini("berth_report_lines = 40")
    local.write(
        test_it="""
        import pytest
        import redis

        @pytest.fixture(scope="module", autouse=True)
        def before(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.mset({"stock:1": 3, "stock:2": 70000, "name": "before", "gone": 1})
                client.set("same", 1)
                client.hset("big", mapping={f"field{n}": n for n in range(2000)})
                client.set("expiring", 1)

        def test_nothing(redis_client):
            assert redis_client.get("stock:1") == b"4"

        def test_much(redis_client, redis_url):
            redis_client.decr("stock:1")
            redis_client.incr("stock:2")
            redis_client.set("name", "after")
            redis_client.expire("expiring", 100)
            redis_client.delete("gone")
            redis_client.hset("cart:7", mapping={"sku": "A1", "password": "hunter2"})
            redis_client.expire("cart:7", 60)
            redis_client.set("api_token", "hunter2")
            redis_client.set("body", '{"id": 1, "secret": "hunter2"}')
            redis_client.set("long", "x" * 5000)
            redis_client.rpush("queue", *range(50))
            redis_client.sadd("a set", "one")
            redis_client.zadd("scores", {"ann": 1.5})
            redis_client.set("picture", b"\\xff" * 2_000_000)
            redis_client.rpush("large", b"x" * 2_000_000)
            redis_client.xadd("events", {"kind": "made"}, id="1-0")
            redis_client.xgroup_create("events", "workers", id="0")
            redis_client.xreadgroup("workers", "me", {"events": ">"})
            with redis.Redis.from_url(redis_url.replace("/0", "/3")) as other:
                other.set("there", 1)
            redis_client.config_set("maxmemory", "100mb")
            redis_client.config_set("masterauth", "hunter2")
            assert False, "on purpose"

        def test_many(redis_client):
            for number in range(3000):
                redis_client.set(f"key{number:05}", number)
            assert False, "on purpose"
        """
    )
    result = local.run("-p", "no:randomly", "--tb=line", "-rN", "--tb=short")
    assert CHANGED not in sections(result, "test_nothing")
    found = sections(result, "test_much")
    changed = found[CHANGED].splitlines()
    assert changed == [
        "~ expiring string '1', expires in 100 s (only its expiry was changed)",
        "~ name string 'after' (was 'before')",
        "~ stock:1 string '2' (was '3')",
        "~ stock:2 string '70001' (was '70000')",
        "- gone",
        "+ 'a set' set of 1 {'one'}",
        "+ api_token string ***",
        '+ body string \'{"id": 1, "secret": ***}\'',
        "+ cart:7 hash of 2 {sku: 'A1', password: ***}, expires in 60 s",
        "+ events stream of 1 [1-0 {kind: 'made'}]; group workers: 1 pending of 1 consumers",
        "+ large list of 1",
        f"+ long string '{'x' * 200}'... (5000 long)",
        f"+ picture string {repr(bytes([255] * 100))[:200]}... (2000000 long)",
        "+ queue list of 50 ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ...]",
        "+ scores sorted set of 1 ['ann': 1.5]",
        "+ number 3: there string '1'",
        "~ server: CONFIG masterauth: was ***, is ***",
        "~ server: CONFIG maxmemory: was '0', is '104857600'",
    ]
    shell, afterwards = found[LOOK].splitlines()
    assert re.fullmatch(r"redis-cli -h 127.0.0.1 -p \d+ -n 0 --askpass", shell)
    assert afterwards == kept_states.LOOK_AFTERWARDS
    many = sections(result, "test_many")[CHANGED].splitlines()
    assert many[0] == "+ key00000 string '0'"
    assert many[-1] == "... 2961 more (berth_report_lines = 40)"
    assert len(many) == 40
    assert "hunter2" not in "".join(line for each in (found, many) for line in each)


def test_what_a_test_leaves_open_and_what_it_ran_into(local: Project) -> None:
    local.ini("berth_report_lines = 40", "asyncio_mode = auto")
    local.plugins = ("asyncio", "xdist")
    local.conftest(
        """
        import pytest
        import redis

        @pytest.fixture
        def client(redis_url):
            with redis.Redis.from_url(redis_url, client_name="app") as client:
                yield client
        """
    )
    local.write(
        test_left="""
        import threading
        import pytest
        import redis
        from pytest_berth import wait_for

        def test_left(redis_client, client, redis_url):
            transaction = client.pipeline()
            transaction.watch("stock")
            transaction.multi()
            open_ = client.connection_pool.get_connection()
            open_.send_command("MULTI")
            open_.send_command("GET", "a")
            open_.read_response(), open_.read_response()
            listener = client.pubsub()
            listener.subscribe("news")
            assert listener.get_message(timeout=5)
            lost = client.connection_pool.get_connection()
            lost.send_command("PING")
            lost.read_response()
            threading.Thread(target=client.blpop, args=("jobs",), daemon=True).start()
            wait_for(lambda: any("b" in each["flags"] for each in redis_client.client_list()))
            idle = client.get("idle")
            assert False, "on purpose"

        @pytest.mark.berth_redis(scope="test")
        def test_own_server(redis_client):
            redis_client.set("mine", 1)
            assert False, "on purpose"
        """,
        test_errors="""
        import asyncio
        import pytest
        import redis

        async def test_type(redis_async_client):
            await redis_async_client.set("cart", "x")
            try:
                await redis_async_client.lpush("cart", 1)
            except redis.ResponseError as error:
                raise RuntimeError("of the application") from error

        def test_pipeline(client):
            client.rpush("queue", "a", "b")
            with client.pipeline() as pipeline:
                pipeline.set("other", 1)
                pipeline.incr("queue")
                pipeline.execute()

        def test_missing(client):
            client.set("orders", 1)
            client.rename("ordres", "done")

        @pytest.mark.berth_redis(scope="test")
        def test_memory(redis_client):
            redis_client.config_set("maxmemory", "1")
            redis_client.set("more", 1)

        def test_rights(client, redis_server):
            client.acl_setuser("app", enabled=True, passwords=["+hunter2"], keys=["app:*"],
                               categories=["+@read", "+@connection"], commands=["+select"])
            number = client.connection_pool.connection_kwargs["db"]
            port = redis_server.server.port
            with redis.Redis(
                port=port, db=number, username="app", password="hunter2",
            ) as other:
                other.set("app:1", 1)

        def test_password(redis_url):
            with redis.Redis.from_url("redis://" + redis_url.split("@")[1]) as other:
                other.get("x")

        def test_number(redis_url, redis_client):
            with redis.Redis.from_url(redis_url.rpartition("/")[0] + "/77") as other:
                other.set("key", 1)
                other.lpush("key", 1)

        def test_number_is_cleaned(redis_url, redis_client):
            with redis.Redis.from_url(redis_url.rpartition("/")[0] + "/77") as other:
                other.flushdb()
        """,
    )
    result = local.run("-n", "2", "--dist", "loadfile", "--tb=short", "-rN")
    result.assert_outcomes(failed=9, passed=1)
    left = sections(result, "test_left")[LEFT].splitlines()
    assert [
        re.sub(r"\d+ 'app' \(\d+ s old, 127.0.0.1:\d+\)|\d+ s$", "_", line) for line in left
    ] == [
        "connection _: not given back to its pool, last WATCH",
        "connection _: an open MULTI, 1 commands queued",
        "connection _: subscribed to 1 channels",
        "connection _: not given back to its pool, last PING",
        "connection _: waits in BLPOP for _",
    ]
    assert sections(result, "test_own_server")[CHANGED] == "+ mine string '1'"
    assert sections(result, "test_type")[KNOWN].splitlines() == [
        "command: LPUSH cart 1",
        "cart is a string 'x'",
    ]
    assert sections(result, "test_pipeline")[KNOWN].splitlines() == [
        "command: INCRBY queue 1",
        "queue is a list of 2 ['a', 'b']",
    ]
    assert sections(result, "test_missing")[KNOWN].splitlines() == [
        "command: RENAME ordres done",
        "ordres is not there; there are: orders",
        "done is not there",
    ]
    known = {
        "test_memory": "used_memory is * bytes, maxmemory 1 (maxmemory-policy noeviction)",
        "test_rights": "the user 'app' was refused the command set",
        "test_password": "the server wants the password of the user 'default', which redis_url*",
        "test_number": "it was sent in database number 77; the run's number is *",
    }
    for test, line in known.items():
        found = sections(result, test)
        pytest.LineMatcher(found[KNOWN].splitlines()).fnmatch_lines(["command: *", line])
        assert "hunter2" not in found[KNOWN] + found.get(CHANGED, "")


def test_a_server_that_does_not_answer_holds_no_report_up(local: Project) -> None:
    local.conftest(
        """
        import os
        import signal
        import pytest

        @pytest.fixture
        def pid(redis_server):
            return redis_server.server.handle["pid"]

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_teardown(item):
            if item.name == "test_suspended":
                os.kill(item.funcargs["pid"], signal.SIGCONT)
        """
    )
    local.write(
        test_it="""
        import os
        import signal
        import pytest
        import redis

        def test_suspended(redis_client, redis_url, pid):
            redis_client.set("key", 1)
            with redis.Redis.from_url(redis_url, socket_timeout=0.1, retry=None) as client:
                os.kill(pid, signal.SIGSTOP)
                client.get("key")

        def test_killed(redis_client, pid):
            os.kill(pid, signal.SIGKILL)
            redis_client.get("key")
        """
    )
    result = local.run("-p", "no:randomly", "--tb=short", "-rN")
    result.assert_outcomes(failed=2, errors=1)
    suspended, killed = sections(result, "test_suspended"), sections(result, "test_killed")
    assert suspended[KNOWN].startswith("cannot be told: TimeoutError")
    assert CHANGED not in suspended
    assert killed[CHANGED].startswith("cannot be told: ConnectionError")
    for found in (suspended, killed):
        assert LOOK in found
        assert LEFT not in found


def test_what_a_test_has_sent(local: Project) -> None:
    local.plugins = ("asyncio", "xdist")
    local.ini("berth_report_lines = 40", "asyncio_mode = auto")
    local.write(
        cart="""
        def read(client, key):
            return client.get(key)
        """,
        test_it="""
        import pytest
        import redis
        from cart import read

        @pytest.fixture
        def shelf(redis_client):
            redis_client.set("shelf", 1)

        def test_keys(redis_client, shelf):
            redis_client.hset("cart:7", mapping={"sku": "A1", "password": "hunter2"})
            redis_client.set("api_token", "hunter2")
            redis_client.get("api_token")
            redis_client.set("picture", "x" * 1000)
            redis_client.lrange("queue", 0, -1)
            redis_client.hget("cart:7", "skus")
            redis_client.mget("shelf", "cart")
            redis_client.execute_command("ACL SETUSER", "app", ">hunter2")
            assert read(redis_client, "shelv") == b"1"

        def test_pipeline(redis_client):
            with redis_client.pipeline() as pipeline:
                pipeline.watch("stock")
                pipeline.get("stock")
                pipeline.multi()
                pipeline.set("other", 1)
                pipeline.lpush("other", 1)
                pipeline.execute()

        async def test_async(redis_async_client):
            await redis_async_client.set("key", 1)
            async with redis_async_client.pipeline(transaction=False) as pipeline:
                await pipeline.get("keys").incr("key").execute()
            async with redis_async_client.pubsub() as listener:
                await listener.subscribe("news")
            await redis_async_client.lpush("key", 1)

        def test_much(redis_client):
            for number in range(100):
                redis_client.set("key", number)
            with redis_client.pipeline() as pipeline:
                for number in range(30):
                    pipeline.set("key", number)
                pipeline.execute()
            assert False, "on purpose"
        """,
    )
    result = local.run("-n", "2", "--tb=short", "-rN")
    result.assert_outcomes(failed=4)

    assert did(result, "test_keys") == [
        "setup test_it.py:7 SET shelf 1",
        "test_it.py:10 HSET cart:7 sku A1 password *** -> 2",
        "test_it.py:11 SET api_token ***",
        "test_it.py:12 GET api_token -> ***",
        f"test_it.py:13 SET picture '{'x' * 40}'... (1000 long)",
        "test_it.py:14 LRANGE queue 0 -1 -> nothing",
        "test_it.py:15 HGET cart:7 skus -> nothing",
        "test_it.py:16 MGET shelf cart -> <list of 2>",
        "test_it.py:17 ACL SETUSER app",
        "cart.py:2 GET shelv -> nothing",
    ]
    assert sections(result, "test_keys")[KNOWN].splitlines() == [
        "HGET cart:7 skus returned nothing; its fields are: sku",
        "GET shelv returned nothing; there are: shelf",
    ]
    assert "hunter2" not in "".join(sections(result, "test_keys").values())
    failed = "-> ResponseError: Command # 2 (LPUSH other 1) of pipeline caused error: WRONGTYPE"
    assert [line.partition(" Operation")[0] for line in did(result, "test_pipeline")] == [
        "test_it.py:22 WATCH stock",
        "test_it.py:23 GET stock -> nothing",
        "test_it.py:27 pipeline of 2:",
        "test_it.py:27 SET other 1",
        f"! test_it.py:27 LPUSH other 1 {failed}",
    ]
    assert [line.partition(" Operation")[0] for line in did(result, "test_async")] == [
        "test_it.py:30 SET key 1",
        "test_it.py:32 pipeline of 2:",
        "test_it.py:32 GET keys -> nothing",
        "test_it.py:32 INCRBY key 1 -> 2",
        "test_it.py:34 SUBSCRIBE news",
        "! test_it.py:35 LPUSH key 1 -> ResponseError: WRONGTYPE",
    ]
    assert did(result, "test_much")[0] == "... 82 before (berth_report_lines = 40)"
    assert did(result, "test_much")[-1] == "test_it.py:43 SET key 19"


def test_of_a_server_of_others_only_the_run_s_own_number_is_told(
    yard: Yard, connect: Callable[..., redis.Redis], project: Project
) -> None:
    server = yard.foreign()
    with connect(server, 3).client() as others:
        others.set("others", 1)
        others.execute_command("MULTI")
        project.write(
            test_it="""
            import redis

            def test_it(redis_client, redis_url):
                redis_client.set("own", 1)
                redis_client.lpush("own", 1)

            def test_others(redis_client, redis_url):
                with redis.Redis.from_url(redis_url[: redis_url.rindex("/")] + "/3") as client:
                    client.lpush("others", 1)
            """
        )
        url = urls.url(server, 0)
        result = project.run("-p", "no:randomly", "--tb=short", "-rN", BERTH_REDIS_URL=url)
        assert connect(server, 3).get("others") == b"1"
    result.assert_outcomes(failed=2)
    found = sections(result, "test_it")
    assert found[KNOWN].splitlines() == ["command: LPUSH own 1", "own is a string '1'"]
    assert found[CHANGED] == "+ own string '1'"
    assert LEFT not in found
    number = found[LOOK].partition("-n ")[2].split()[0]
    told = f"it was sent in database number 3; the run's number is {number}"
    found = sections(result, "test_others")
    assert found[KNOWN].splitlines() == ["command: LPUSH others 1", told]
    assert CHANGED not in found
