"""A server that is lost in the middle of a run: the test that sees it tells, later ones go on."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from marks import nightly, usual
from pytest_berth import wait_for
from pytest_berth.services.kafka.service import KAFKA as KAFKA_SERVICE
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.services.redis.service import REDIS as REDIS_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Project
    from tests.contracts.conftest import Berthed, Stage

    from pytest_berth.api import Service

LOSE = """
    import json, pathlib
    import docker, psutil, pytest

    def lose(server, how="kill"):
        handle = server.server.handle
        pathlib.Path("handle.json").write_text(json.dumps(handle))
        if server.source == "container":
            client = docker.from_env()
            getattr(client.containers.get(handle["container"]), how)()
            client.close()
        else:
            process = psutil.Process(handle["pid"])
            family = [process, *process.children(recursive=True)]
            process.kill()
            psutil.wait_procs(family[1:], timeout=30)
"""
ROLLED_BACK = """
    from sqlalchemy import text
    from conftest import lose

    def test_before(pg_session):
        assert pg_session.scalar(text("SELECT 1")) == 1

    def test_losing(pg_session, pg_server):
        assert pg_session.scalar(text("SELECT 1")) == 1
        lose(pg_server)

    def test_later(pg_session):
        assert pg_session.scalars(text("SELECT email FROM users")).all() == []

    def test_much_later(pg_connection, pg_server):
        pg_connection.execute(text("SELECT 1"))
        assert "ready to accept connections" in pg_server.log()

    def test_unit():
        pass
"""
COMMITTING = """
    import os
    import pytest
    from sqlalchemy import create_engine, text
    from conftest import lose

    @pytest.fixture(scope="class")
    def of_a_wider_scope():
        pass

    def insert(engine):
        with engine.begin() as connection:
            assert connection.scalars(text("SELECT email FROM users")).all() == []
            connection.execute(text("INSERT INTO users (email) VALUES ('a')"))

    def test_before(pg_engine):
        insert(pg_engine)

    def test_losing(pg_engine, pg_server):
        insert(pg_engine)
        lose(pg_server)

    def test_later(of_a_wider_scope, pg_engine):
        insert(pg_engine)

    def test_much_later(pg_url):
        assert os.environ["DATABASE_URL"] == pg_url
        insert(create_engine(os.environ["DATABASE_URL"]))

    def test_unit():
        pass
"""
REDIS = """
    from conftest import lose

    def test_before(redis_client):
        redis_client.set("key", 1)

    def test_losing(redis_client, redis_server):
        redis_client.set("key", 1)
        lose(redis_server)

    def test_later(redis_client):
        assert not redis_client.exists("key")
        redis_client.set("key", 1)

    def test_much_later(redis_client):
        assert not redis_client.exists("key")

    def test_unit():
        pass
"""
KAFKA = """
    from conftest import lose

    def test_before(kafka_probe):
        kafka_probe.publish("orders", b"1")

    def test_losing(kafka_probe, kafka_server):
        kafka_probe.publish("orders", b"1")
        lose(kafka_server)

    def test_later(kafka_probe):
        kafka_probe.publish("orders", b"2")
        assert kafka_probe.expect_one("orders").value == b"2"

    def test_much_later(kafka_probe):
        kafka_probe.publish("orders", b"3")

    def test_unit():
        pass
"""
SUITES = {
    "rollback": ("postgres", ROLLED_BACK, ()),
    "truncation": ("postgres", COMMITTING, ("berth_export = DATABASE_URL = {pg_url}",)),
    "redis": ("redis", REDIS, ()),
    "kafka": ("kafka", KAFKA, ("berth_kafka_topics = orders",)),
}


# That a committing test's server, and a broker, are replaced, the conformance suite shows, too.
@pytest.mark.parametrize("suite", usual(SUITES, "rollback", "redis"))
@pytest.mark.parametrize("starting", ["local", *nightly("container")], indirect=True)
def test_later_tests_get_another_server_in_the_place_of_a_lost_one(
    project: Project, starting: str, suite: str
) -> None:
    service, tests, settings = SUITES[suite]
    project.models(f"berth_source = {starting}", *settings)
    project.conftest(LOSE)
    project.write(test_all=tests)
    result = project.run("-v")
    output = result.stdout.str() + result.stderr.str()
    for name in ("before", "later", "much_later", "unit"):
        assert f"::test_{name} PASSED" in output
    assert "::test_losing ERROR" in output or "::test_losing FAILED" in output
    assert f"the {service} server is lost" in output
    assert "the end of its log:" in output
    ended = "exited with status 137" if starting == "container" else "was ended by SIGKILL"
    assert ended in output
    assert "in the place of a lost one" in output
    assert "INTERNALERROR" not in output
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not _is_left(json.loads((project.root / "handle.json").read_text()))


def test_private_databases_are_made_anew_too(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.models("berth_source = local", "berth_pg_isolation = database")
    project.conftest(LOSE)
    # The pool clones another database behind the test, so that the next test sees the loss.
    project.write(
        test_all=COMMITTING.replace("os.environ['DATABASE_URL']", "pg_url")
        .replace('os.environ["DATABASE_URL"]', "pg_url")
        .replace("def test_later", "def test_next(pg_engine): pass\n\n    def test_later")
    )
    result = project.run("-v")
    output = result.stdout.str() + result.stderr.str()
    for name in ("before", "later", "much_later", "unit"):
        assert f"::test_{name} PASSED" in output
    assert "the postgres server is lost" in output
    assert "INTERNALERROR" not in output


def test_what_a_wider_fixture_writes_first_on_the_new_server_stays(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini(
        "berth_source = local",
        "berth_pg_schema = schema.sql",
        "berth_pg_databases = other = schema.sql",
    )
    (project.root / "schema.sql").write_text("CREATE TABLE note (words text)")
    project.conftest(LOSE)
    project.write(
        test_it="""
            import pytest
            from sqlalchemy import text
            from conftest import lose

            @pytest.fixture(scope="session")
            def engines(pg_engine, pg_databases):
                return pg_engine, pg_databases["other"].engine

            def write_and_count(engine):
                with engine.begin() as connection:
                    connection.execute(text("INSERT INTO note VALUES ('new')"))
                    return connection.scalar(text("SELECT count(*) FROM note"))

            def test_losing(engines, pg_server):
                assert [*map(write_and_count, engines)] == [1, 1]
                lose(pg_server)

            class TestLater:
                @pytest.fixture(scope="class")
                @classmethod
                def written(cls, engines):
                    return [*map(write_and_count, engines)]

                def test_later(self, engines, written):
                    assert written == [1, 1]
                    assert [*map(write_and_count, engines)] == [2, 2]
        """
    )
    output = project.run("-v").stdout.str()
    assert "::test_later PASSED" in output
    assert "the postgres server is lost" in output


def test_a_container_that_is_stopped_is_replaced_too(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("container")
    project.models("berth_source = container")
    project.conftest(LOSE)
    project.write(test_all=ROLLED_BACK.replace("lose(pg_server)", "lose(pg_server, 'stop')"))
    output = project.run("-v").stdout.str()
    assert "::test_much_later PASSED" in output
    assert "the container exited with status 0" in output


def test_a_test_in_whose_body_the_server_is_lost_tells_of_it(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini("berth_redis_source = local")
    project.conftest(LOSE)
    project.write(
        test_it="""
            from conftest import lose

            def test_losing(redis_client, redis_server):
                lose(redis_server)
                redis_client.ping()

            def test_later(redis_client): pass
        """
    )
    result = project.run()
    result.stdout.fnmatch_lines(
        ["*FAILURES*", "*- redis server -*", "the redis server is lost.", "*was ended by SIGKILL*"]
    )
    assert result.parseoutcomes()["passed"] == 1


def test_after_two_replacements_every_test_tells_at_once(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.models("berth_source = local")
    project.conftest(LOSE)
    project.write(
        test_it="""
            import pytest
            from conftest import lose

            @pytest.mark.parametrize("n", range(3))
            def test_losing(pg_session, pg_server, n):
                lose(pg_server)

            @pytest.mark.parametrize("n", range(2))
            def test_later(pg_session, n): pass
        """
    )
    result = project.run("-v")
    result.assert_outcomes(passed=3, errors=5)
    assert result.stdout.str().count("\npostgres was lost 3 times, and is not started again.") == 2


@pytest.mark.parametrize("suite", ["postgres", *nightly("redis")])
def test_under_xdist_one_worker_replaces_the_server_and_all_join(
    project: Project, require_source: Callable[[str], None], suite: str
) -> None:
    require_source("local")
    project.plugins = ("xdist",)
    project.models("berth_source = local")
    project.conftest(LOSE)
    using = {
        "postgres": ("pg_server", "pg_engine.connect().close()", "pg_engine"),
        "redis": ("redis_server", "redis_client.set('key', 1)", "redis_client"),
    }
    server, work, fixture = using[suite]
    project.write(
        test_it=f"""
            import pytest
            from conftest import lose

            @pytest.mark.parametrize("n", range(30))
            def test_it({fixture}, {server}, n):
                {work}
                if n == 0:
                    lose({server})
        """
    )
    result = project.run("-n", "2")
    output = result.stdout.str() + result.stderr.str()
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] >= 28
    assert 1 <= outcomes.get("errors", 0) + outcomes.get("failed", 0) <= 4
    before, _, _ = output.partition("= berth =")
    assert before.count("in the place of a lost one") == 1


@pytest.mark.parametrize("client", ["redis_client", *nightly("kafka_admin")])
def test_a_server_that_is_lost_before_a_worker_has_its_place_on_it_is_replaced(
    project: Project, require_source: Callable[[str], None], client: str
) -> None:
    service, _, _ = client.partition("_")
    require_source("local")
    project.ini("berth_source = local", "berth_kafka_topics = orders")
    project.conftest(LOSE)
    project.write(
        test_it=f"""
            import pytest
            from conftest import lose

            @pytest.fixture(scope="session", autouse=True)
            def losing({service}_server):
                lose({service}_server)

            def test_it({client}): pass
            def test_later({client}): pass
        """
    )
    result = project.run()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*in the place of a lost one*"])


def test_a_process_of_postgres_that_is_killed_is_not_taken_for_the_server(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.models("berth_source = local")
    project.write(
        test_it="""
            import psutil
            from sqlalchemy import text

            def test_losing(pg_session):
                psutil.Process(pg_session.scalar(text("SELECT pg_backend_pid()"))).kill()

            def test_later(pg_session):
                assert pg_session.scalar(text("SELECT 1")) == 1
        """
    )
    result = project.run("-v")
    output = result.stdout.str() + result.stderr.str()
    assert "::test_later PASSED" in output
    assert "server is lost" not in output


def test_a_test_that_blocks_the_network_loses_no_server(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini("berth_redis_source = local")
    project.write(
        test_it="""
            import socket

            def test_blocking(redis_client, monkeypatch):
                def blocked(*args, **kwargs): raise OSError("blocked")
                monkeypatch.setattr(socket, "socket", blocked)
                redis_client.connection_pool.disconnect()
                redis_client.ping()

            def test_later(redis_client): redis_client.ping()
        """
    )
    result = project.run("-v")
    output = result.stdout.str() + result.stderr.str()
    assert "::test_later PASSED" in output
    assert "in the place of a lost one" not in output


def test_an_external_server_that_is_lost_is_told_too(
    project: Project, stage: Stage, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    other = stage.start("local")
    project.models(f"berth_pg_url = {other.url}", "berth_start_timeout = 5")
    project.conftest(_lose_process(other))
    project.write(test_all=ROLLED_BACK)
    result = project.run("-v")
    output = result.stdout.str() + result.stderr.str()
    assert "::test_later PASSED" not in output
    assert output.count("the postgres server is lost") >= 2
    assert "INTERNALERROR" not in output
    assert "could not be cleaned up" in output
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def _lose_process(berthed: Berthed) -> str:
    pid = berthed.server.handle["pid"]
    return LOSE.replace('server.source == "container"', "False").replace('handle["pid"]', f"{pid}")


def _is_left(handle: dict[str, Any]) -> bool:
    if "directory" in handle:
        return Path(handle["directory"]).exists()
    with closing(docker.from_env()) as client:
        return bool(client.containers.list(all=True, filters={"id": handle["container"]}))


HELD = """
    import json, pathlib
    import docker, psutil, pytest
    from pytest_berth.run import reaper

    # That takes half a minute.
    soon = "reaper.suspended_servers.FOR = 3.0; reaper.main"
    reaper._PROGRAM = reaper._PROGRAM.replace("reaper.main", soon)

    def hold(server, only_its_children=False):
        handle = server.server.handle
        pathlib.Path("handle.json").write_text(json.dumps(handle))
        if server.source == "container":
            client = docker.from_env()
            client.containers.get(handle["container"]).pause()
            client.close()
        else:
            process = psutil.Process(handle["pid"])
            for child in process.children(recursive=True):
                child.suspend()
            if not only_its_children:
                process.suspend()
"""


SERVICES = {each.name: each for each in (POSTGRES, REDIS_SERVICE, KAFKA_SERVICE)}
WAITING = {
    "postgres": """
        from sqlalchemy import text
        from conftest import hold

        def test_waits_itself(pg_session, pg_server):
            hold(pg_server, only_its_children=True)
            for _ in range(1000):
                pg_session.execute(text("SELECT pg_sleep(0.01)"))

        def test_is_reset(pg_engine, pg_server):
            with pg_engine.begin() as connection:
                connection.execute(text("INSERT INTO users (email) VALUES ('a')"))
            hold(pg_server)

        def test_next(pg_session):
            assert pg_session.scalars(text("SELECT email FROM users")).all() == []
    """,
    "redis": """
        from conftest import hold

        def test_waits_itself(redis_client, redis_server):
            hold(redis_server)
            redis_client.ping()

        def test_is_reset(redis_client, redis_server):
            redis_client.set("key", 1)
            hold(redis_server)

        def test_next(redis_client):
            assert not redis_client.exists("key")
    """,
    "kafka": """
        from conftest import hold

        def test_waits_itself(kafka_probe, kafka_server):
            hold(kafka_server)
            kafka_probe.publish("orders", b"1")

        def test_is_reset(kafka_probe, kafka_server):
            kafka_probe.publish("orders", b"1")
            hold(kafka_server)

        def test_next(kafka_probe):
            kafka_probe.publish("orders", b"2")
            assert kafka_probe.expect_one("orders").value == b"2"
    """,
}


@pytest.mark.parametrize(
    ("source", "service"),
    [
        ("local", "postgres"),
        ("container", "redis"),
        *nightly(("local", "kafka"), ("local", "redis")),
        *nightly(("container", "postgres"), ("container", "kafka")),
    ],
)
def test_a_server_that_stands_still_is_ended_whoever_waits_for_it(
    project: Project,
    require_service: Callable[[Service, str], None],
    source: str,
    service: str,
) -> None:
    require_service(SERVICES[service], source)
    project.models(f"berth_source = {source}", "berth_kafka_topics = orders")
    project.conftest(HELD)
    project.write(test_all=WAITING[service])
    result = project.run("-p", "no:randomly")
    result.assert_outcomes(passed=2, failed=1, errors=2)
    what = "the container was paused"
    if source == "local":
        what = "the process * was stopped (SIGSTOP)"
    result.stdout.fnmatch_lines([f"*: {source} at *: {what} for * s, so berth has ended it"])
    handle = json.loads((project.root / "handle.json").read_text())
    wait_for(lambda: not _is_left(handle), 60)
