"""Database numbers on a server that others use too."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import IsolationError, NoSourceError
from pytest_berth.services.redis import claims, clients, urls

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis
    from tests.services.redis.conftest import Yard

    from conftest import Project
    from pytest_berth.api import Server

    Connect = Callable[..., redis.Redis]


def claimed(server: Server, connect: Connect, home: int = 15) -> dict[int, str]:
    """Return the owners of the claimed numbers."""
    entries = connect(server, home).hgetall(claims.REGISTRY)
    return {int(number): entry.split()[0].decode() for number, entry in entries.items()}


def age(server: Server, connect: Connect, number: int, home: int = 15) -> None:
    """Make a claim one that has been abandoned."""
    entry = connect(server, home).hget(claims.REGISTRY, str(number)).split()
    entry[1] = b"1"
    connect(server, home).hset(claims.REGISTRY, str(number), b" ".join(entry))


def test_a_worker_gets_the_same_number_each_time(yard: Yard, connect: Connect) -> None:
    server = yard.foreign()
    first, other = claims.take(server, "a:gw0"), claims.take(server, "a:gw1")
    assert (first, other) == (14, 13)
    assert claims.take(server, "a:gw0") == first
    assert claimed(server, connect) == {14: "a:gw0", 13: "a:gw1"}


def test_a_claimed_database_is_empty_to_its_tests(yard: Yard, connect: Connect) -> None:
    server = yard.foreign()
    assert connect(server, claims.take(server, "a:main")).dbsize() == 0


def test_a_number_with_foreign_keys_is_never_taken(yard: Yard, connect: Connect) -> None:
    server = yard.foreign()
    for number in (0, 1, 2, 4, 14, 15):
        connect(server, number).set("foreign", number)
    taken = [claims.take(server, f"a:gw{n}") for n in range(9)]
    assert sorted(taken) == [3, *range(5, 13)]
    with pytest.raises(NoSourceError):
        claims.take(server, "a:gw9")
    claims.release(server, "a")
    found = {n: connect(server, n).keys() for n in range(16)}
    assert {n for n, keys in found.items() if keys == [b"foreign"]} == {0, 1, 2, 4, 14, 15}
    assert sum(map(len, found.values())) == 6


def test_when_no_number_is_free_the_error_says_who_has_them(yard: Yard, connect: Connect) -> None:
    server = yard.foreign(databases=3)
    connect(server, 0).set("foreign", 1)
    assert claims.take(server, "a:gw0") == 1
    with pytest.raises(NoSourceError) as raised:
        claims.take(server, "b:main")
    message = str(raised.value)
    assert "no database number is free on the external Redis at 127.0.0.1:" in message
    assert "of its 3 numbers" in message
    assert "1 by a:gw0" in message
    assert "0 is taken only where berth_redis_db names it" in message
    assert "FLUSHDB" in message
    assert "databases 256" in message


def test_a_released_run_leaves_the_server_as_it_was(yard: Yard, connect: Connect) -> None:
    server = yard.foreign()
    connect(server, 0).set("foreign", 1)
    connect(server, claims.take(server, "a:gw0")).set("mine", 1)
    claims.take(server, "a:gw1")
    claims.take(server, "ab:gw0")
    assert claims.release(server, "a") == 2
    assert claimed(server, connect) == {12: "ab:gw0"}
    assert claims.release(server, "ab") == 1
    assert list(connect(server).info("keyspace")) == ["db0"]


def test_the_number_of_a_killed_run_is_of_use_again_once_it_is_empty(
    yard: Yard, connect: Connect
) -> None:
    server = yard.foreign(databases=3)
    number = claims.take(server, "killed:main")
    connect(server, number).set("of whom", 1)
    age(server, connect, number, home=2)
    with pytest.raises(NoSourceError, match="when their numbers are empty"):
        claims.take(server, "a:gw0")
    assert claims.release(server, "a") == 0
    assert claims.release(server, "killed") == 0, "its time is over"
    assert connect(server, number).keys() == [b"of whom"]
    assert claimed(server, connect, home=2) == {number: "killed:main"}
    connect(server, number).flushdb()
    assert claims.take(server, "a:gw0") == number


def test_an_old_claim_is_left_alone_while_its_worker_is_connected(
    yard: Yard, connect: Connect
) -> None:
    server = yard.foreign(databases=3)
    number = claims.take(server, "a:main")
    with clients.closing(claims.connect(urls.url(server, number), "a:main")) as worker:
        age(server, connect, number, home=2)
        with pytest.raises(NoSourceError):
            claims.take(server, "b:main")
        assert claims.release(server, "b") == 0
        assert worker.ping()
    assert claims.take(server, "b:main") == number


def test_the_end_of_a_run_gives_back_what_dead_runs_have_left_if_it_is_empty(
    yard: Yard, connect: Connect
) -> None:
    server = yard.foreign()
    dead, filled, living = (claims.take(server, f"{name}:main") for name in ("a", "b", "c"))
    for number in (filled, living):
        connect(server, number).set("of whom", 1)
    for number in (dead, filled):
        age(server, connect, number)
    assert claims.release(server, "d") == 0
    assert claimed(server, connect) == {filled: "b:main", living: "c:main"}
    assert connect(server, filled).dbsize() == connect(server, living).dbsize() == 1


def test_number_0_is_taken_only_by_its_name(yard: Yard, connect: Connect) -> None:
    server = yard.foreign(databases=2)
    with pytest.raises(NoSourceError):
        claims.take(server, "a:main")
    assert claims.take(server, "a:main", 0) == 0
    with pytest.raises(NoSourceError, match="database number 0 is in use on the external Redis"):
        claims.take(server, "b:main", 0)
    claims.release(server, "a")
    connect(server, 0).set("foreign", 1)
    with pytest.raises(NoSourceError, match="redis-cli -n 0 FLUSHDB"):
        claims.take(server, "b:main", 0)
    assert connect(server).keys() == [b"foreign"]


def test_time_alone_is_no_proof_where_the_server_does_not_tell_who_is_connected(
    yard: Yard, connect: Connect
) -> None:
    server = yard.foreign(databases=3)
    age(server, connect, claims.take(server, "a:main"), home=2)
    connect(server).acl_setuser("default", enabled=True, commands=["-client"])
    with clients.closing(claims.connect(urls.url(server, 0), "c:main")) as nameless:
        assert nameless.ping()
    with pytest.raises(NoSourceError):
        claims.take(server, "b:main")


def test_a_lost_claim_is_told_and_nothing_is_flushed(yard: Yard, connect: Connect) -> None:
    server = yard.foreign()
    number = claims.take(server, "a:main")
    claim = claims.claim(connect(server, number), "a:main", number)
    claim.renew()
    connect(server, 15).delete(claims.REGISTRY)
    with pytest.raises(IsolationError, match="no longer this run's"):
        claim.renew()


def test_renewing_makes_an_old_claim_good_again(yard: Yard, connect: Connect) -> None:
    server = yard.foreign(databases=3)
    number = claims.take(server, "a:main")
    age(server, connect, number, home=2)
    claims.claim(connect(server, number), "a:main", number).renew()
    with pytest.raises(NoSourceError):
        claims.take(server, "b:main")


def test_many_processes_at_once_get_numbers_of_their_own(yard: Yard, connect: Connect) -> None:
    server = yard.foreign(databases=64)
    for number in range(0, 64, 3):
        connect(server, number).set("foreign", 1)
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        owners = [f"run{n}:gw0" for n in range(40)]
        taken = pool.starmap(claims.take, [(server, name) for name in owners], chunksize=1)
    assert len(set(taken)) == 40
    assert not [number for number in taken if number % 3 == 0]


def test_runs_side_by_side_share_a_server_that_is_in_use(
    project: Project, yard: Yard, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = yard.foreign()
    connect(server, 0).set("foreign", 1)
    monkeypatch.setenv("BERTH_REDIS_URL", urls.url(server, 0))
    project.write(
        test_outer="""
        import subprocess, sys

        def test_outer(redis_client, redis_url):
            redis_client.set("outer", 1)
            inner = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "inner.py"]
            subprocess.run(inner, check=True)
            assert redis_client.keys() == [b"outer"]
            assert not redis_url.endswith("/0")
        """,
        inner="def test_inner(redis_client): assert redis_client.keys() == []",
    )
    project.run("test_outer.py").assert_outcomes(passed=1)
    assert list(connect(server).info("keyspace")) == ["db0"]
    assert connect(server).keys() == [b"foreign"]


def test_numbers_exported_but_never_used_are_given_back(
    project: Project, yard: Yard, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = yard.foreign()
    monkeypatch.setenv("BERTH_REDIS_URL", urls.url(server, 0))
    project.ini("berth_export = REDIS_URL = {redis_url}")
    project.write(
        test_unit="import os\ndef test_unit(): assert os.environ['REDIS_URL'].endswith('/14')"
    )
    project.run().assert_outcomes(passed=1)
    assert connect(server).info("keyspace") == {}


def test_a_server_with_too_many_clients_is_told_as_such(yard: Yard, connect: Connect) -> None:
    server = yard.foreign()
    holder = connect(server)
    holder.ping()
    holder.config_set("maxclients", 1)
    with pytest.raises(NoSourceError, match="or raise its maxclients"):
        claims.take(server, "a:main")
