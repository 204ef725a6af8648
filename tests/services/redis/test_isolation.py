"""What belongs to a test, and what to the fixtures around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from pytest_berth.services.redis import clients, restore
from pytest_berth.services.redis.restore import Baseline, Value
from pytest_berth.services.redis.worker_databases import WorkerDatabases

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.redis.conftest import Yard

    from conftest import Project

SESSION_KEYS = """
    import pytest
    import redis

    @pytest.fixture(scope="session")
    def catalogue(redis_url):
        with redis.Redis.from_url(redis_url) as client:
            client.set("text", "shelf")
            client.rpush("list", 1, 2, 3)
            client.hset("hash", mapping={"stock": 100})
            client.zadd("sorted", {"a": 1.5})
            client.xadd("stream", {"n": 1})
            client.xgroup_create("stream", "group", id="0")
            client.set("short", 1, px=3_600_000)
"""


def test_what_a_session_fixture_wrote_is_put_back_after_each_test(local: Project) -> None:
    local.conftest(SESSION_KEYS)
    local.write(
        test_stock="""
        import pytest

        KEYS = {b"text", b"list", b"hash", b"sorted", b"stream", b"short"}

        def look(client):
            assert set(client.keys()) == KEYS
            assert client.get("text") == b"shelf"
            assert client.lrange("list", 0, -1) == [b"1", b"2", b"3"]
            assert client.hgetall("hash") == {b"stock": b"100"}
            assert client.zscore("sorted", "a") == 1.5
            assert client.xlen("stream") == 1
            assert len(client.xinfo_groups("stream")) == 1
            assert 3_500_000 < client.pttl("short") <= 3_600_000
            assert client.pttl("text") == -1

        def test_one(catalogue, redis_client):
            look(redis_client)
            redis_client.delete("text", "list", "short")
            redis_client.hincrby("hash", "stock", -2)
            redis_client.zadd("sorted", {"b": 1})
            redis_client.xtrim("stream", 0)
            redis_client.expire("text", 1000)
            redis_client.set("new", 1)

        def test_two(catalogue, redis_client):
            look(redis_client)
            redis_client.flushdb()

        def test_three(catalogue, redis_client):
            look(redis_client)

        def test_four(catalogue, redis_client):
            look(redis_client)
            redis_client.persist("short")

        def test_five(catalogue, redis_client):
            look(redis_client)
        """
    )
    local.run().assert_outcomes(passed=5)


def test_many_keys_of_a_session_fixture_are_all_put_back(local: Project) -> None:
    local.write(
        test_many="""
        import pytest
        import redis

        @pytest.fixture(scope="session")
        def many(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.mset({f"key:{n}": n for n in range(5000)})

        @pytest.mark.parametrize("round_", range(3))
        def test_all(many, redis_client, round_):
            assert redis_client.dbsize() == 5000
            redis_client.delete(*(f"key:{n}" for n in range(0, 5000, 2)))
        """
    )
    local.run().assert_outcomes(passed=3)


def test_keys_are_put_back_where_scripts_are_refused_too(
    yard: Yard, connect: Callable[..., redis.Redis]
) -> None:
    server = yard.start("local")
    client = connect(server)
    texts = {b"text": b"*1\r\n\x00\xff", "schlüssel".encode(): b"", b"number": b"1"}
    client.mset(texts)
    client.set("short", 1, px=3_600_000)
    values = dict(restore.read(client, 0, [*texts, b"short"]))
    for scripts in (True, False):
        client.flushdb()
        client.set("other", 1)
        answers = clients.ask(client, Baseline(values).refill(0, scripts=scripts))
        assert not [each for each in answers if isinstance(each, Exception)]
        assert client.dbsize() == len(values)
        assert {key: client.get(key) for key in texts} == texts
        assert 3_500_000 < client.pttl("short") <= 3_600_000
        assert client.pttl("text") == -1
    assert WorkerDatabases(server, 0, range(1), client).has_scripts()
    client.acl_setuser("other", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-eval"])
    client.execute_command("AUTH", "other", "any")
    databases = WorkerDatabases(server, 0, range(1), client)
    assert not databases.has_scripts()
    with pytest.raises(redis.ResponseError, match=r"(?i)eval"):
        databases.run(0, Baseline(values).refill(0, scripts=True))


@pytest.mark.parametrize("scripts", [True, False])
def test_keys_that_a_server_does_not_take_are_told(
    yard: Yard, connect: Callable[..., redis.Redis], scripts: bool
) -> None:
    """The server empties the number, and answers to the key within the answer to EXEC."""
    server = yard.start("local")
    databases = WorkerDatabases(server, 0, range(1), connect(server))
    damaged = Baseline({(0, b"seed"): Value(b"no dump", 0)})
    with pytest.raises(redis.ResponseError, match="payload"):
        databases.run(0, damaged.refill(0, scripts=scripts))


def test_what_a_module_s_fixture_deletes_at_its_end_stays_deleted(local: Project) -> None:
    local.write(
        test_a="""
        import pytest
        import redis

        @pytest.fixture(scope="module")
        def seed(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.set("seed", 1)
                yield
                client.delete("seed")

        def test_seeded(seed, redis_client):
            redis_client.set("seed", 2)

        def test_seeded_again(seed, redis_client):
            assert redis_client.get("seed") == b"1"
        """,
        test_b="def test_empty(redis_client): assert redis_client.keys() == []",
    )
    local.run().assert_outcomes(passed=3)


def test_what_a_thread_writes_after_its_test_is_taken_for_no_fixture_s(local: Project) -> None:
    """Writes between two tests, before berth looks there and after it, stand for the thread's."""
    local.conftest(
        """
        import redis

        late = []

        def write(key):
            with redis.Redis.from_url(late[0]) as client:
                client.set(key, "late")

        def pytest_runtest_logfinish(nodeid):
            if late:
                write("first")

        def pytest_runtest_setup(item):
            if late:
                write("second")
                late.clear()
        """
    )
    local.write(
        test_thread="""
        import pytest
        import redis
        from conftest import late

        def test_one(redis_client, redis_url):
            late.append(redis_url)

        def test_two(redis_client):
            assert set(redis_client.keys()) <= {b"second"}

        def test_three(redis_client):
            assert redis_client.keys() == []

        @pytest.fixture(scope="class")
        def seed(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.set("seed", 1)

        class TestSeeded:
            def test_one(self, seed, redis_client, redis_url):
                late.append(redis_url)

            def test_two(self, seed, redis_client):
                assert set(redis_client.keys()) <= {b"seed", b"second"}

            def test_three(self, seed, redis_client):
                assert redis_client.keys() == [b"seed"]

        def test_four(redis_client):
            assert redis_client.keys() == []
        """
    )
    local.run("-p", "no:randomly").assert_outcomes(passed=7)


def test_a_test_that_asks_while_it_runs_is_cleaned_up_behind(local: Project) -> None:
    local.write(
        test_late="""
        def test_first(request):
            request.getfixturevalue("redis_client").set("one", 1)

        def test_second(request):
            client = request.getfixturevalue("redis_client")
            assert client.keys() == []
            client.set("two", 1)

        def test_third(request):
            import redis
            with redis.Redis.from_url(request.getfixturevalue("redis_url")) as client:
                assert client.keys() == []
        """
    )
    local.run().assert_outcomes(passed=3)


def test_a_failing_test_leaves_nothing(local: Project) -> None:
    local.write(
        test_failing="""
        def test_fails(redis_client):
            redis_client.set("left", 1)
            assert False

        def test_next(redis_client):
            assert redis_client.keys() == []
        """
    )
    local.run().assert_outcomes(passed=1, failed=1)


def test_too_few_databases_are_told(local: Project, yard: Yard) -> None:
    local.plugins = ("xdist",)
    local.ini("berth_redis_settings = databases = 1")
    local.write(
        test_two="""
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_any(redis_client, number): pass
        """
    )
    result = local.run("-n", "2", "--dist", "load")
    result.stdout.fnmatch_lines(["*the server has no database number 1.*", "*databases = 256*"])


def test_a_number_beyond_those_of_the_server_is_told(local: Project, yard: Yard) -> None:
    local.ini("berth_redis_db = 300")
    local.write(test_one="def test_any(redis_client): pass")
    local.run().stdout.fnmatch_lines(["*has no database number 300.", "*databases = 301"])


SCOPES = """
    import pytest
    import redis

    def put(url, name):
        with redis.Redis.from_url(url) as client:
            client.set(name, 1)
            client.rpush("order", name)

    @pytest.fixture(scope="session")
    def of_session(redis_url): put(redis_url, "session")

    @pytest.fixture(scope="module")
    def of_module(redis_url): put(redis_url, "module")

    @pytest.fixture(scope="class")
    def of_class(redis_url): put(redis_url, "class")
"""
SCOPED = """
    import pytest

    @pytest.fixture
    def keys(redis_client):
        yield lambda: {key.decode() for key in redis_client.keys()} - {"order"}
        redis_client.set("test", 1)

    def test_module(of_module, keys):
        assert keys() - {"session"} == {"module"}

    class TestIt:
        def test_class(self, of_class, keys):
            assert keys() - {"session"} == {"module", "class"}

        def test_late_session(self, of_class, of_session, keys, redis_client):
            assert keys() == {"module", "class", "session"}
            redis_client.delete("session")

    def test_session(of_session, keys):
        assert keys() == {"module", "session"}
"""


def test_what_fixtures_of_a_scope_wrote_is_gone_after_it(local: Project) -> None:
    local.conftest(SCOPES)
    local.write(test_a=SCOPED, test_b=SCOPED)
    local.write(
        test_c="""
        def test_only_the_sessions_is_left(of_session, redis_client):
            assert set(redis_client.keys()) == {b"session"} | {b"order"}
        """
    )
    local.run().assert_outcomes(passed=9)
