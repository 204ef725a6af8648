"""What a test changes beside the keys of its own number is put back, or told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from marks import nightly
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from pytest_berth.api import Service

CHANGES = """
    import pytest
    import redis

    FUNCTION = "#!lua name=mine\\nredis.register_function('mine', function() return 1 end)"

    def run(client, *command):
        try:
            return client.execute_command(*command)
        except redis.ResponseError as error:  # not every version knows each
            assert "unknown" in str(error) or "not allowed" in str(error), error

    def another_number(client, url):
        with redis.Redis.from_url(url) as other:
            run(other, "SELECT", 1)
            run(other, "SET", "key", 1)

    def the_last_number(client, url):
        with redis.Redis.from_url(url) as other:
            run(other, "SELECT", 255)
            run(other, "SET", "key", 1)

    def setting(client, url): client.config_set("maxmemory", "100mb")
    def notifications(client, url): client.config_set("notify-keyspace-events", "KEA")
    def slow(client, url):
        client.config_set("slowlog-log-slower-than", "0")
        client.get("key")
    def counters(client, url):
        client.config_set("maxmemory", "50mb")
        client.config_resetstat()
    def user(client, url): run(client, "ACL", "SETUSER", "app", "on", ">word", "~app:*", "+get")
    def password(client, url): client.config_set("requirepass", "other")
    def no_password(client, url): run(client, "ACL", "SETUSER", "default", "nopass")
    def switched_off(client, url): run(client, "ACL", "SETUSER", "default", "off")
    def function(client, url): run(client, "FUNCTION", "LOAD", FUNCTION)
    def replication(client, url): client.replicaof("127.0.0.1", "1")
    def pause(client, url): run(client, "CLIENT", "PAUSE", "100000", "WRITE")
    def expiry(client, url): run(client, "DEBUG", "SET-ACTIVE-EXPIRE", "0")
    def everything(client, url): client.flushall()
    def swapped(client, url):
        client.set("key", 1)
        client.swapdb(0, 5)

    ALL = [
        another_number, the_last_number, setting, notifications, slow, counters, user, password,
        no_password, switched_off, function, replication, pause, expiry, everything, swapped,
    ]

    def condition(client, url):
        settings = client.config_get()
        users = [line.replace(" sanitize-payload", "") for line in client.acl_list()]
        found = [settings, users, client.role()[0], client.slowlog_len()]
        found += [client.info("keyspace"), run(client, "FUNCTION", "LIST")]
        with redis.Redis.from_url(url, retry=None) as fresh:
            assert fresh.set("writable", 1)
            fresh.delete("writable")
        return found
"""


@pytest.mark.parametrize("source", ["local", *nightly("container")])
def test_all_that_a_test_can_change_is_put_back(
    project: Project, require_service: Callable[[Service, str], None], source: str
) -> None:
    require_service(REDIS, source)
    # On a busy machine some command takes the 10 ms that are slow by default.
    settings = "berth_redis_settings = slowlog-log-slower-than = 60000000"
    project.ini(f"berth_redis_source = {source}", settings)
    project.write(changes=CHANGES)
    project.write(
        test_all="""
        import pytest
        import redis
        from changes import ALL, condition

        FIRST = []

        @pytest.fixture(scope="module", autouse=True)
        def first(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.set("of the module", 1)

        @pytest.mark.parametrize("change", [None, *ALL, None], ids=str)
        def test_it(change, redis_client, redis_url):
            found = condition(redis_client, redis_url)
            FIRST.append(found)
            assert found == FIRST[0]
            if change:
                change(redis_client, redis_url)

        def test_eviction_counts_as_no_change(redis_client):
            redis_client.config_set("maxmemory-policy", "allkeys-random")
            redis_client.config_set("maxmemory", "1")
            assert redis_client.get("of the module") is None

        def test_evicted_keys_are_there_again(redis_client):
            assert redis_client.get("of the module") == b"1"
        """
    )
    result = project.run("-p", "no:randomly")
    result.assert_outcomes(passed=20)
    result.stdout.no_fnmatch_line("*in the place of a lost one*")


def test_what_cannot_be_put_back_is_told_once_and_later_tests_find_what_fixtures_wrote(
    local: Project,
) -> None:
    local.conftest(
        """
        import asyncio
        import pytest
        import redis
        import redis.asyncio

        @pytest.fixture(scope="session")
        def application(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.set("catalogue", "shelf")
                client.config_set("maxmemory", "100mb")
                client.acl_setuser("app", enabled=True, passwords=["+word"])
                yield client

        @pytest.fixture(scope="session")
        def waiting(redis_url):
            loop = asyncio.new_event_loop()
            client = redis.asyncio.Redis.from_url(redis_url)
            yield lambda *command: loop.run_until_complete(client.execute_command(*command))
            loop.run_until_complete(client.connection_pool.disconnect())
            loop.close()

        @pytest.fixture(scope="module")
        def of_module(application):
            application.set("module", 1)
        """
    )
    local.write(
        test_a="""
        import os
        import pytest

        def look(application, waiting):
            assert application.get("catalogue") == waiting("GET", "catalogue") == b"shelf"
            assert application.config_get("maxmemory") == {"maxmemory": "104857600"}
            assert application.acl_users() == ["app", "default"]
            assert set(application.keys()) == {b"catalogue", b"module"}
            application.set("test", 1)

        @pytest.fixture(autouse=True)
        def looked(application, waiting, of_module, redis_client):
            look(application, waiting)

        def test_before(): pass

        def test_locked_out(application):
            application.execute_command("ACL", "SETUSER", "default", "-@all")

        def test_after(): pass

        def test_killed(redis_server):
            os.kill(redis_server.server.handle["pid"], 9)

        def test_after_it(): pass

        def test_forgets(application):
            application.flushall()
            application.config_set("maxmemory", "1mb")

        def test_at_last(): pass
        """,
        test_b="""
        def test_the_module_is_over(application, redis_client):
            assert application.keys() == [b"catalogue"]
        """,
    )
    result = local.run("-p", "no:randomly")
    result.assert_outcomes(passed=8, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_locked_out*",
            "what the test has changed on the Redis server cannot be put back.",
            "  do:  later tests get another server; *",
            "*ERROR at teardown of test_killed*",
            "the redis server is lost.",
        ]
    )


def test_numbers_that_the_application_derives_are_the_worker_s_own(local: Project) -> None:
    local.plugins = ("xdist",)
    local.write(
        test_many="""
        import pytest
        import redis

        @pytest.mark.parametrize("round_", range(20))
        def test_alone(redis_client, redis_url, round_):
            number = redis_client.connection_pool.connection_kwargs["db"]
            base = redis_url.rpartition("/")[0]
            for further in (0, 1, 15):
                with redis.Redis.from_url(f"{base}/{number + further}") as client:
                    assert client.dbsize() == 0
                    client.set("key", 1)
        """
    )
    local.run("-n", "2").assert_outcomes(passed=20)


def test_a_server_that_does_not_answer_is_told_and_replaced(local: Project) -> None:
    local.conftest(
        """
        from pytest_berth.services.redis import clients

        clients.ANSWERS_WITHIN = 1.0
        """
    )
    local.write(
        test_all="""
        import os, signal

        def test_stops(redis_client, redis_server):
            redis_client.set("key", 1)
            os.kill(redis_server.server.handle["pid"], signal.SIGSTOP)

        def test_next(redis_client):
            assert redis_client.keys() == []
        """
    )
    result = local.run("-p", "no:randomly")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "the redis server is lost.",
            "  why: local at *: the process * is stopped (SIGSTOP)",
            "  do:  * later tests get another one",
        ]
    )
