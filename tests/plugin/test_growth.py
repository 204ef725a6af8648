"""A long run is as light at its end as at its beginning: what tests leave in the process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from pytest_berth.api import Service

ROUNDS, EVERY = 90, 30
KINDS = 5
# pytest itself keeps 18 objects and 4 KB of each test: its reports, and the ends of its fixtures.
MOST_OBJECTS, MOST_BYTES = 60, 50_000

TESTS = f"""
    import pytest
    from models import User
    from sqlalchemy import select
    from sqlalchemy.orm import Session

    numbered = pytest.mark.parametrize("number", range({ROUNDS + 1}))

    def register(session):
        session.add(User(email="ada@example.com"))
        session.commit()
        assert len(session.scalars(select(User)).all()) == 1

    @numbered
    def test_rolled_back(pg_session, number):
        register(pg_session)

    @numbered
    def test_truncated(pg_engine, number):
        with Session(pg_engine) as session:
            register(session)

    @numbered
    @pytest.mark.berth_pg(isolation="database")
    def test_private_database(pg_engine, number):
        with Session(pg_engine) as session:
            register(session)

    @numbered
    def test_redis(redis_client, number):
        assert redis_client.incr("number") == 1

    @numbered
    def test_kafka(kafka_probe, kafka_topic, number):
        kafka_probe.publish(kafka_topic, b"event")
        assert kafka_probe.expect_one(kafka_topic).value == b"event"
"""

CONFTEST = f"""
    import gc, itertools, json, threading
    from pathlib import Path

    import psutil
    import psycopg
    import pytest
    import redis

    from pytest_berth.services.postgres import urls

    COUNT, READINGS, SERVERS = itertools.count(), [], {{}}
    CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"

    @pytest.fixture(scope="session", autouse=True)
    def asking(pg_server, redis_url):
        dsn = urls.dsn(pg_server.server, pg_server.server.credentials.database)
        connect = psycopg.connect(dsn, autocommit=True)
        with redis.Redis.from_url(redis_url) as client, connect as connection:
            SERVERS["clients of Redis"] = lambda: len(client.client_list())
            SERVERS["clients of Postgres"] = lambda: connection.execute(CLIENTS).fetchone()[0]
            yield
            SERVERS.clear()

    def pytest_collection_modifyitems(items):
        items.sort(key=lambda item: item.callspec.params["number"])

    def pytest_runtest_logstart():
        if next(COUNT) % {EVERY * KINDS} == 0:
            gc.collect()
            process = psutil.Process()
            READINGS.append({{
                **{{name: ask() for name, ask in SERVERS.items()}},
                "connections": len(process.net_connections("all")),
                "descriptors": process.num_fds(),
                "threads": threading.active_count(),
                "objects": len(gc.get_objects()),
                "memory": process.memory_info().rss,
            }})
            Path("readings.json").write_text(json.dumps(READINGS))
"""


@pytest.mark.slow
def test_hundreds_of_tests_of_all_kinds_leave_nothing_in_the_process(
    project: Project, require_service: Callable[[Service, str], None]
) -> None:
    for service in (POSTGRES, REDIS, KAFKA):
        require_service(service, "external")
    project.models()
    project.conftest(CONFTEST)
    project.write(test_it=TESTS)

    project.run().assert_outcomes(passed=KINDS * (ROUNDS + 1))

    # Behind the first tests everything is imported, connected, and in its pools.
    _, early, *_, late = json.loads((project.root / "readings.json").read_text())
    between = ROUNDS * KINDS - EVERY * KINDS
    grown = {name: late[name] for name in late if late[name] != early[name]}
    assert grown.keys() <= {"objects", "memory"}, (early, late)
    assert (late["objects"] - early["objects"]) / between < MOST_OBJECTS
    assert (late["memory"] - early["memory"]) / between < MOST_BYTES
