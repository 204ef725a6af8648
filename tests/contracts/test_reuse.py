"""A server that a run leaves is taken over by the next run, clean, from each source."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis

from marks import nightly
from pytest_berth.cli.end import end
from pytest_berth.run.reuse import records
from pytest_berth.services.kafka import urls as kafka_urls
from pytest_berth.services.kafka.clients import Clients
from pytest_berth.services.kafka.kafka_python import TopicPartition
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.services.redis import urls as redis_urls
from pytest_berth.services.redis.service import REDIS
from pytest_berth.waiting import wall_clock
from temporary import open_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Berthed, Stage
    from pytest_berth.api import Server, Service
    from pytest_berth.run.reuse.records import Record

KEEP = "1h"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of this test's own, so that only its servers are kept there."""
    # A project for one test has nothing to keep as a snapshot.
    monkeypatch.setenv("CI", "true")
    with open_home() as path, monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(path))
        yield path


@pytest.fixture
def kept(place: Path, stage_of: Callable[[Service], Stage]) -> Iterator[Callable[[Service], Stage]]:
    """Make runs of a service whose kept servers end with the test."""
    yield stage_of
    assert end_all() == []


def end_all() -> list[Record]:
    """End what is kept, from the process that has started it; return what stays."""
    there = records.of_user()
    for record in there.all():
        end(there.directory, record.name, early=True)
    return there.all()


def write(service: Service, server: Server) -> None:
    """Leave behind whatever a careless test might."""
    if service is POSTGRES:
        with connected(server) as connection:
            connection.execute("CREATE ROLE left_behind")
            connection.execute("CREATE DATABASE left_behind OWNER left_behind")
    elif service is REDIS:
        with redis.Redis.from_url(redis_urls.url(server, 7)) as client:
            client.set("left", "behind")
            client.config_set("maxmemory", "100mb")
            client.acl_setuser("left_behind", enabled=True)
    else:
        from kafka import OffsetAndMetadata

        clients = Clients(kafka_urls.bootstrap(server))
        clients.producer.send("left_behind", b"x").get(60)
        # Without joining its group, which kafka-python does not always finish on a busy machine.
        with clients.consumer(group_id="left_behind") as consumer:
            part = TopicPartition("left_behind", 0)
            consumer.assign([part])
            consumer.commit({part: OffsetAndMetadata(1, "", -1)})
        clients.close()


def connected(server: Server) -> psycopg.Connection[Any]:
    """Connect to the administrator's database of a Postgres."""
    account = server.credentials
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user=account.user,
        password=account.password,
        dbname=account.database,
        autocommit=True,
    )


def identity(server: Server) -> object:
    """Return what tells a server's process or container from others."""
    return server.handle.get("container") or (server.handle["pid"], server.handle["created"])


def is_running(berthed: Berthed) -> bool:
    """Tell whether a server lives, whoever uses it."""
    return berthed.source.exit_status(berthed.server) is None


@pytest.mark.parametrize(
    ("service", "source"),
    [
        (POSTGRES, "container"),
        (REDIS, "local"),
        (KAFKA, "local"),
        *nightly((POSTGRES, "local"), (REDIS, "container"), (KAFKA, "container")),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_the_next_run_takes_over_what_the_last_one_left_and_finds_nothing(
    service: Service,
    source: str,
    kept: Callable[[Service], Stage],
    require_service: Callable[[Service, str], None],
) -> None:
    require_service(service, source)
    stage = kept(service)
    first = stage.start(source, berth_keep=KEEP)
    condition = service.backend.state_digest(first.server)
    write(service, first.server)
    assert service.backend.state_digest(first.server) != condition
    first.manager.stop()

    second = stage.start(source, berth_keep=KEEP)

    assert identity(second.server) == identity(first.server)
    assert "kept by an earlier run" in str(second.server)
    assert service.backend.state_digest(second.server) == condition
    old, new = first.server.credentials.password, second.server.credentials.password
    assert old != new or not old
    second.manager.stop()
    assert is_running(second)
    assert end_all() == []
    assert not is_running(second)


def test_two_runs_at_once_have_a_server_each_and_one_of_these_stays(
    kept: Callable[[Service], Stage], require_service: Callable[[Service, str], None]
) -> None:
    require_service(REDIS, "local")
    stage = kept(REDIS)
    first, second = (stage.start("local", berth_keep=KEEP) for _ in range(2))

    assert identity(first.server) != identity(second.server)
    assert any("another run uses the server kept for this project" in s for s in second.notes)
    assert len(end_all()) == 1, "it is in use"
    second.manager.stop()
    first.manager.stop()
    assert not is_running(second)
    assert is_running(first)


def test_other_settings_have_a_server_of_their_own(
    kept: Callable[[Service], Stage], require_service: Callable[[Service, str], None]
) -> None:
    require_service(REDIS, "local")
    stage = kept(REDIS)
    stage.start("local", berth_keep=KEEP).manager.stop()
    lines = ["maxmemory = 64mb"]
    for _ in range(2):
        other = stage.start("local", berth_keep=KEEP, berth_redis_settings=lines)
        other.manager.stop()

    assert other.server.reattached
    assert len(records.of_user().all()) == 2
    assert not stage.start("local").server.reattached, "it was not asked for"


def test_a_kept_server_that_has_died_is_passed_over_with_a_line(
    kept: Callable[[Service], Stage], require_service: Callable[[Service, str], None]
) -> None:
    require_service(REDIS, "local")
    stage = kept(REDIS)
    first = stage.start("local", berth_keep=KEEP)
    first.manager.stop()
    first.source.stop(first.server)

    second = stage.start("local", berth_keep=KEEP)

    assert not second.server.reattached
    assert any("the server kept for this project is passed over" in s for s in second.notes)
    second.manager.stop()
    assert is_running(second)


def test_a_server_that_cannot_be_cleaned_is_left_to_what_has_failed_on_it(
    kept: Callable[[Service], Stage], require_service: Callable[[Service, str], None]
) -> None:
    require_service(POSTGRES, "local")
    stage = kept(POSTGRES)
    run = stage.start("local", berth_keep=KEEP)
    with connected(run.server) as connection:
        connection.execute("CREATE TABLE behind ()")
    run.manager.hold(POSTGRES, run.server, wall_clock() + 3600)
    run.manager.stop()

    second = stage.start("local", berth_keep=KEEP)

    assert any("is left to what failed: tests have changed it: " in line for line in second.notes)
    assert not second.server.reattached
    assert is_running(run)
    (record,) = [each for each in records.of_user().all() if each.kept_until]
    with connected(record.server) as connection:
        connection.execute("TABLE behind")
    assert not end(records.of_user().directory, record.name, early=False)
    second.manager.stop()


@pytest.mark.parametrize("left", ["ALTER SYSTEM SET work_mem = '8MB'", "CREATE TABLE behind ()"])
def test_a_server_that_cannot_be_cleaned_is_ended_by_the_run_that_finds_it(
    left: str, kept: Callable[[Service], Stage], require_service: Callable[[Service, str], None]
) -> None:
    require_service(POSTGRES, "local")
    stage = kept(POSTGRES)
    run = stage.start("local", berth_keep=KEEP)
    with connected(run.server) as connection:
        connection.execute(left.encode())

    run.manager.stop()
    second = stage.start("local", berth_keep=KEEP)

    assert any("is passed over: tests have changed it: " in line for line in second.notes)
    assert not is_running(run)
    assert not second.server.reattached
    assert [record.server for record in records.of_user().all()] == [second.server]
    second.manager.stop()


def test_a_server_lost_in_the_middle_of_a_run_is_kept_no_more_but_the_one_in_its_place_is(
    kept: Callable[[Service], Stage], require_service: Callable[[Service, str], None]
) -> None:
    require_service(REDIS, "local")
    stage = kept(REDIS)
    run = stage.start("local", berth_keep=KEEP)
    os.kill(run.server.handle["pid"], 9)
    run.manager.mark_lost(run.server)

    again = run.manager.server(REDIS)
    run.manager.stop()

    assert run.source.exit_status(again) is None
    assert [record.server.handle for record in records.of_user().all()] == [again.handle]
