"""``--berth-audit``: which test was the first to leave a server other than it was."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project

POSTGRES = """
    import psycopg
    import pytest
    from sqlalchemy import text

    none = pytest.mark.berth_pg(isolation="none")
    open_connections = []

    @pytest.fixture(scope="module")
    def seeded(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users VALUES (100, 'seeded')"))

    @pytest.fixture(scope="class")
    def late_seed(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users VALUES (200, 'late')"))
        yield
        with pg_engine.begin() as connection:
            connection.execute(text("DELETE FROM users WHERE id = 200"))

    def test_rolled_back(pg_session, seeded):
        pg_session.execute(text("INSERT INTO users (email) VALUES ('rolled back')"))
        pg_session.commit()

    def test_truncated(pg_engine, seeded):
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users (email) VALUES ('truncated')"))
            connection.execute(text("CREATE TABLE more (id int)"))

    @none
    def test_rows(pg_engine, request, seeded):
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users (email) VALUES ('left')"))
        request.getfixturevalue("late_seed")
        with pg_engine.begin() as connection:
            connection.execute(text("UPDATE users SET email = 'other' WHERE id = 100"))

    class TestSchema:
        @none
        def test_schema(self, pg_engine, seeded):
            with pg_engine.begin() as connection:
                connection.execute(text("CREATE TABLE other (id int)"))
                connection.execute(text("ALTER TABLE users ADD extra int"))

    @none
    def test_server(pg_dsn, seeded):
        with psycopg.connect(pg_dsn, autocommit=True) as connection:
            connection.execute("CREATE ROLE app LOGIN PASSWORD 'of-the-application'")
            connection.execute("ALTER SYSTEM SET work_mem = '8MB'")
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET statement_timeout = '5s'")

    @none
    def test_left_open(pg_dsn, seeded):
        connection = psycopg.connect(pg_dsn, application_name="left")
        connection.execute("LOCK users")
        open_connections.append(connection)

    @none
    def test_puts_back(pg_dsn, seeded):
        open_connections.pop().close()
        with psycopg.connect(pg_dsn, autocommit=True) as connection:
            connection.execute("DROP ROLE app")

    def test_of_unit(pg_dsn_of_environment):
        with psycopg.connect(pg_dsn_of_environment, autocommit=True) as connection:
            connection.execute("DELETE FROM users WHERE id = 1")

    def test_last(pg_session, seeded): pass
"""


def summary(result: pytest.RunResult) -> dict[str, list[str]]:
    """Return what the summary tells, by test."""
    text = result.stdout.str().partition("= berth audit =")[2].partition("\n==")[0]
    found: dict[str, list[str]] = {}
    for line in text.splitlines()[1:]:
        if line.startswith("  "):
            found[list(found)[-1]].append(re.sub(r"pid \d+", "pid N", line.strip()))
        else:
            found[line.rpartition("::")[2]] = []
    return found


def test_of_postgres_the_first_test_that_breaks_something_is_told(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.models("berth_source = local", "berth_export = DSN = {pg_dsn}")
    project.conftest(
        """
        import os, pytest

        @pytest.fixture
        def pg_dsn_of_environment():
            return os.environ["DSN"]
        """
    )
    project.write(test_it=POSTGRES)
    result = project.run("--berth-audit", "-rP")
    result.assert_outcomes(passed=9)
    assert summary(result) == {
        "test_rows": [
            "postgres: rows of public.users: 1 row -> 2 rows (new: id=1)",
            "postgres: sequence public.users_id_seq: at 1, unused -> at 1",
            "postgres: rows of public.users: changed (changed: id=100)",
        ],
        "test_schema": [
            "postgres: rows of public.other: new, 0 rows",
            "postgres: rows of public.users: changed (changed: id=1, id=100)",
            "postgres: schema: table other: new",
            "postgres: schema: table users: changed (new: column extra)",
        ],
        "test_server": [
            "postgres: role app: new",
            "postgres: setting of the database statement_timeout=5s: new",
            "postgres: setting work_mem: new, '8MB'",
        ],
        "test_left_open": [
            "postgres: AccessExclusiveLock on users: new, held by pid N, application 'left',"
            " idle in transaction",
            "postgres: connection of 'left', idle in transaction: new, 1 of them",
        ],
        "test_of_unit": ["postgres: rows of public.users: 2 rows -> 1 row (gone: id=1)"],
    }
    assert "of-the-application" not in result.stdout.str().partition("berth audit")[2]
    result.stdout.fnmatch_lines(
        ["*- what the test broke, seen at its teardown (--berth-audit) -*", "postgres: role app: *"]
    )


@pytest.mark.slow
def test_what_is_made_anew_after_a_crash_is_no_difference(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.models("berth_source = local", "berth_audit = fail")
    project.write(
        test_it="""
            import os, signal
            import psycopg
            import pytest

            def test_before(pg_session): pass

            def test_crashes(pg_dsn):
                with psycopg.connect(pg_dsn) as connection:
                    os.kill(connection.info.backend_pid, signal.SIGKILL)

            def test_after(pg_session): pass

            @pytest.mark.berth_pg(isolation="none")
            def test_breaks(pg_dsn):
                with psycopg.connect(pg_dsn) as connection:
                    connection.execute("INSERT INTO users VALUES (1, 'x')")
        """
    )
    result = project.run()
    assert summary(result) == {
        "test_breaks": ["postgres: rows of public.users: 0 rows -> 1 row (new: id=1)"]
    }


OTHERS = """
    import os

    import pytest
    import redis
    from kafka import KafkaProducer
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

    @pytest.fixture
    def client():
        with redis.Redis.from_url(os.environ["REDIS"]) as client:
            yield client

    @pytest.fixture(scope="module")
    def wide(redis_url):
        with redis.Redis.from_url(redis_url) as client:
            client.hset("wide", mapping={str(number): number for number in range(1000)})
            client.sadd("set", *range(1000))
            client.set("text", "as it was")

    def test_clean(redis_client, wide, kafka_probe):
        redis_client.flushdb()
        redis_client.config_set("maxmemory", 10_000_000)
        kafka_probe.publish("orders", value=b"x")
        kafka_probe.publish(kafka_probe.topic("own"), value=b"x")

    def test_redis(client):
        client.set("left", "behind")
        client.set("text", "other")
        client.config_set("maxmemory", 10_000_000)
        client.config_set("masterauth", "a-new-word")
        client.acl_setuser("app", enabled=True, passwords=["+another-word"])

    def test_kafka():
        producer = KafkaProducer(bootstrap_servers=os.environ["KAFKA"])
        for topic in ("orders", "new-topic"):
            producer.send(topic, b"x").get(10)
        producer.close()
        admin = KafkaAdminClient(bootstrap_servers=os.environ["KAFKA"])
        admin.alter_configs([
            ConfigResource(ConfigResourceType.TOPIC, "orders", {"retention.ms": "1000000"})
        ])
        admin.close()

    def test_clean_again(redis_client, wide, kafka_probe): pass
"""
FIRST = """
    import os

    import redis

    def test_before_any_other():
        with redis.Redis.from_url(os.environ["REDIS"]) as client:
            client.set("from the beginning", "x")
"""


def test_of_redis_and_kafka_the_first_test_that_breaks_something_is_told(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini(
        "berth_source = local",
        "berth_audit = report",
        "berth_kafka_topics = orders",
        "berth_export =",
        "    REDIS = {redis_url}",
        "    KAFKA = {kafka_bootstrap}",
    )
    project.write(test_a_unit=FIRST, test_it=OTHERS)
    result = project.run()
    result.assert_outcomes(passed=5)
    assert summary(result) == {
        "test_before_any_other": ["redis: keys in db0: new"],
        "test_redis": [
            "redis: ACL user app: new",
            "redis: CONFIG masterauth: changed",
            "redis: CONFIG maxmemory: '0' -> '10000000'",
            "redis: key left: new, string",
            "redis: key text: changed",
            "redis: keys: 4 of them -> 5 of them",
        ],
        "test_kafka": [
            "kafka: records in topic new-topic: new, 1 of them",
            "kafka: records in topic orders: 0 of them -> 1 of them",
            "kafka: setting retention.ms of topic orders: new, '1000000'",
            "kafka: topic new-topic: new, partitions: 1",
        ],
    }


def test_with_fail_it_is_an_error_of_the_test_unless_it_may_be_another_workers(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.plugins = ("xdist", "rerunfailures")
    project.models("berth_source = local", "berth_audit = fail")
    project.write(
        test_it="""
            import psycopg
            import pytest

            @pytest.mark.berth_pg(isolation="none")
            @pytest.mark.parametrize("number", [1, 2])
            def test_rows(pg_dsn, number):
                with psycopg.connect(pg_dsn) as connection:
                    connection.execute("INSERT INTO users VALUES (%s, %s)", [number, str(number)])

            @pytest.mark.berth_pg(isolation="none")
            def test_role(pg_dsn):
                with psycopg.connect(pg_dsn) as connection:
                    connection.execute("CREATE ROLE app")

            def test_last(pg_session): pass
            def test_unit(): pass
        """
    )
    result = project.run("-n", "2", "--reruns=1", "--only-rerun=nothing")
    result.assert_outcomes(passed=5, errors=2)
    result.stdout.fnmatch_lines(
        [
            "the test leaves a server other than it was:",
            "  postgres: rows of public.users: 0 rows -> 1 row (new: id=*)",
        ]
    )
    told = summary(result)
    assert {"test_rows[1]", "test_rows[2]", "test_role"} <= told.keys()
    assert "postgres: role app: new (by this test, or one that ran beside it)" in told["test_role"]


def test_without_it_nothing_of_it_is_imported_and_a_path_is_no_value(project: Project) -> None:
    project.write(
        test_it="""
            import sys

            def test_it():
                ours = [name for name in sys.modules if name.startswith("pytest_berth")]
                assert not [name for name in ours if "audit" in name]
        """
    )
    project.ini("berth_audit = off")
    project.run(forked=False).assert_outcomes(passed=1)
    result = project.run("--berth-audit", "test_it.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "  why: 'test_it.py', set by --berth-audit",
            "  do:  use report, fail or off; where a path follows *: --berth-audit=report PATH",
        ]
    )
    quiet = project.run("--berth-audit=fail", "-k", "nothing")
    quiet.stdout.fnmatch_lines(["every test has left the servers as they were before it"])


@pytest.mark.slow
def test_a_service_of_another_distribution_that_cannot_be_compared_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("memcached"):
        pytest.skip("memcached is not installed")
    toy = Path(__file__).parents[1] / "services/toy"
    shutil.copytree(toy, project.root, dirs_exist_ok=True)
    installed = project.root / "toy-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[pytest_berth.services]\ntoy = toy:TOY\n")
    monkeypatch.setenv("PYTHONPATH", str(project.root))
    project.write(test_it="def test_it(toy_url): pass\ndef test_again(toy_url): pass")
    result = project.run("--berth-audit=fail", "--berth-source=local", forked=False)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*= berth audit =*", "toy cannot be compared: Space has no audit()"]
    )
    assert result.stdout.str().count("cannot be compared") == 1
