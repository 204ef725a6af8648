"""Servers start from the data of earlier ones, which holds nothing that a test has written."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import docker
import pytest

from marks import nightly
from pytest_berth import wait_for
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.sources import snapshots
from temporary import open_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Project
    from pytest_berth.api import Service

FROM_SNAPSHOT = "*ready in * from a snapshot, *"
NEEDLE = "needle-that-no-snapshot-may-hold"
SCHEMA = """
CREATE TABLE users (id serial PRIMARY KEY, email text UNIQUE);
CREATE TABLE made AS SELECT {at} AS at;
"""
TESTS = f"""
    from sqlalchemy import text

    def test_rolled_back(pg_session):
        pg_session.execute(text("INSERT INTO users (email) VALUES ('{NEEDLE}')"))
        pg_session.commit()
        assert pg_session.scalar(text("SELECT count(*) FROM users")) == 1

    def test_committed(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users (email) VALUES ('{NEEDLE}')"))
            assert connection.scalar(text("SELECT count(*) FROM users")) == 1
"""


@pytest.fixture
def cache(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that holds the binaries of the user's, and snapshots of this test only."""
    from pytest_berth.sources.artifact_cache import cache_directory

    binaries = list(cache_directory().glob("embedded*"))
    monkeypatch.setenv("BERTH_SNAPSHOTS", "on")
    # The next run of a test is to find what the one before it has left.
    monkeypatch.setenv("BERTH_WAIT_AT_END", "on")
    project.models()
    project.write(test_users=TESTS)
    with open_home() as cache:
        for path in binaries:
            (cache / path.name).symlink_to(path)
        monkeypatch.setenv("BERTH_CACHE", str(cache))
        yield cache


@pytest.fixture(params=["local", "container"])
def kept(
    request: pytest.FixtureRequest,
    cache: Path,
    require_source: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], bytes]]:
    """Each source that keeps snapshots; called, everything that those of the test hold."""
    require_source(request.param)
    monkeypatch.setenv("BERTH_SOURCE", request.param)
    if request.param == "local":
        yield lambda: b"".join(
            path.read_bytes() for path in (cache / "snapshots").rglob("*") if path.is_file()
        )
        return
    root = request.getfixturevalue("project").root

    def contents() -> bytes:
        (image,) = _images(root)
        labels = docker.from_env().images.get(image).labels
        # What is made from a snapshot belongs to no run.
        assert labels["org.pytest-berth.snapshot"]
        assert not labels["org.pytest-berth.run"]
        return _contents(image)

    yield contents
    for image in _images(root):
        docker.from_env().images.remove(image)


def _images(root: Path) -> set[str]:
    # Without the details of each: other tests make and remove snapshots, too.
    found = docker.from_env().api.images(filters={"label": "org.pytest-berth.snapshot"})
    tags = {tag for image in found for tag in image["RepoTags"] or ()}
    return {tag for tag in tags if snapshots.project(root) in tag}


def _contents(image: str) -> bytes:
    command = ["docker", "run", "--rm", "--entrypoint", "tar", image, "-C", "/berth", "-c", "."]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_what_puts_data_back_is_imported_before_the_tests_of_a_run_that_leaves_a_template(
    cache: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_SOURCE", "local")
    project.write(
        test_users="""
            import sys

            def test_unit(): assert "pytest_berth.services.postgres.restore.restore" in sys.modules
            def test_it(pg_session): pass
        """
    )
    project.run(forked=False).assert_outcomes(passed=2)


def test_what_puts_data_back_is_not_imported_where_the_template_is_there_and_the_test_waits(
    cache: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_SOURCE", "local")
    project.write(
        test_users="""
            import sys

            def test_it(pg_session):
                with open("imported.txt", "a") as file:
                    print("pytest_berth.services.postgres.restore" in sys.modules, file=file)
        """
    )
    for _ in range(2):
        project.run(forked=False).assert_outcomes(passed=1)
    assert (project.root / "imported.txt").read_text().split() == ["True", "False"]


NOTED = """
    def test_template(pg_session):
        with open("noted.txt", "a") as file:
            print(pg_session.scalar(text("SELECT at FROM made")), file=file)

    def test_password(pg_engine):
        with open("passwords.txt", "a") as file:
            print(pg_engine.url.password, file=file)
"""


def test_a_later_run_starts_from_what_an_earlier_one_has_kept_and_no_test_has_written(
    kept: Callable[[], bytes], cache: Path, project: Project
) -> None:
    (project.root / "schema.sql").write_text(SCHEMA.format(at="clock_timestamp()"))
    project.ini("berth_pg_schema = schema.sql")
    project.write(test_users=dedent(TESTS) + dedent(NOTED))

    first = project.run("-vv")
    found = kept()
    second = project.run("-v")
    (project.root / "schema.sql").write_text(SCHEMA.format(at="text 'changed'"))
    third = project.run("-v")

    for result in (first, second, third):
        result.assert_outcomes(passed=4)
    first.stdout.no_fnmatch_line(FROM_SNAPSHOT)
    second.stdout.fnmatch_lines([FROM_SNAPSHOT, "stays * postgres: a snapshot, which later runs *"])
    assert b"PG_VERSION" in found or b"base" in found
    assert len(found) > 1_000_000
    assert NEEDLE.encode() not in found
    made = (project.root / "noted.txt").read_text().splitlines()
    assert made == [made[0], made[0], "changed"]
    assert_own(cache / "secret", (project.root / "passwords.txt").read_text().splitlines())
    assert (cache / "secret").read_text() not in first.stdout.str()


def assert_own(secret: Path, passwords: list[str]) -> None:
    """Assert that the password of snapshots is the user's alone, and that runs have others."""
    assert secret.stat().st_mode & 0o777 == 0o600
    snapshots = secret.parent / "snapshots"
    assert not snapshots.exists() or snapshots.stat().st_mode & 0o777 == 0o700
    assert len({*passwords, secret.read_text()}) == len(passwords) + 1 == 4


def test_what_cannot_be_known_is_applied_anew(
    cache: Path, project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.write(
        test_users="from sqlalchemy import text\n" + dedent(NOTED),
        seeds="""
        from sqlalchemy import text

        def fill(connection):
            connection.execute(text("CREATE TABLE made AS SELECT clock_timestamp() AS at"))
        """,
    )
    project.ini("berth_pg_seed = seeds:fill")
    for _ in range(2):
        project.run("--berth-source=local").assert_outcomes(passed=2)

    first, second = (project.root / "noted.txt").read_text().splitlines()
    assert first != second


@pytest.mark.parametrize(
    "left",
    [
        "ALTER SYSTEM SET work_mem = '8MB'",
        *nightly(
            "CREATE ROLE left_behind",
            "ALTER ROLE CURRENT_USER SET work_mem = '8MB'",
            "CREATE DATABASE left_behind",
        ),
    ],
)
def test_a_server_on_which_a_test_left_something_is_not_kept(
    cache: Path, project: Project, require_source: Callable[[str], None], left: str
) -> None:
    require_source("local")
    project.write(
        test_users=f"""
        import psycopg
        import pytest

        @pytest.mark.berth_pg(isolation="none")
        def test_leaves(pg_dsn):
            with psycopg.connect(pg_dsn, autocommit=True) as connection:
                connection.execute("{left}")
        """
    )

    project.run("--berth-source=local").assert_outcomes(passed=1)

    assert not _snapshots(cache)


@pytest.mark.parametrize("database", ["template1", *nightly("postgres")])
@pytest.mark.parametrize(
    "left", ["TYPE left_behind AS ENUM ('a')", *nightly("TABLE left_behind ()")]
)
def test_what_a_test_left_in_a_database_of_the_server_is_not_kept(
    cache: Path,
    project: Project,
    require_source: Callable[[str], None],
    database: str,
    left: str,
) -> None:
    require_source("local")
    project.write(
        test_users=f"""
        import psycopg
        from psycopg.conninfo import make_conninfo

        def test_leaves(pg_dsn):
            with psycopg.connect(make_conninfo(pg_dsn, dbname="{database}")) as connection:
                connection.execute("CREATE {left}")
        """
    )

    project.run("--berth-source=local").assert_outcomes(passed=1)

    assert not _snapshots(cache)


@pytest.mark.parametrize(
    "environment", [{"BERTH_SNAPSHOTS": "auto", "CI": "true"}, *nightly({"BERTH_SNAPSHOTS": "off"})]
)
def test_no_snapshot_is_kept_when_it_is_switched_off(
    cache: Path,
    project: Project,
    require_source: Callable[[str], None],
    environment: dict[str, str],
) -> None:
    require_source("local")

    project.run("--berth-source=local", **environment).assert_outcomes(passed=2)

    assert not _snapshots(cache)
    assert not (cache / "secret").exists()


def test_a_secret_that_others_can_read_is_refused(
    cache: Path, project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    (cache / "secret").write_text("known to all")
    (cache / "secret").chmod(0o644)

    result = project.run("--berth-source=local")

    result.stdout.fnmatch_lines(
        [
            "*snapshots cannot be used: there is no place for their password.",
            f"*why: {cache}/secret is not this user's alone",
            "*do:  berth_snapshots = off, or set BERTH_CACHE to a directory of yours",
        ]
    )


@pytest.mark.parametrize("kept", ["container"], indirect=True)
def test_a_run_need_not_wait_until_the_image_of_its_container_is_stored(
    project: Project, kept: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_WAIT_AT_END", "off")
    project.write(
        test_stopped="""
            import json, os, signal, tempfile
            from pathlib import Path
            from pytest_berth import wait_for

            def test_it(pg_session):
                # A reaper that stands still shows that pytest has not waited.
                (noted,) = Path(tempfile.gettempdir()).glob("berth-*/postgres.launched.json")
                reaper = noted.with_name("reaper.json")
                pid = wait_for(lambda: reaper.exists() and json.loads(reaper.read_text())[0])
                Path("reaper").write_text(f"{pid} {noted.parent}")
                if "STOPS" in os.environ:
                    os.kill(pid, signal.SIGSTOP)
        """
    )
    with tempfile.TemporaryDirectory(prefix="stored-", ignore_cleanup_errors=True) as name:
        monkeypatch.setenv("TMPDIR", name)
        project.run("test_stopped.py", STOPS="1").assert_outcomes(passed=1)
        assert not _images(project.root)
        pid, directory = (project.root / "reaper").read_text().split()
        os.kill(int(pid), signal.SIGCONT)
        wait_for(lambda: not Path(directory).exists(), 60, message="the reaper's work")
        assert kept()

        result = project.run("test_stopped.py")
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines([FROM_SNAPSHOT])
        # There is nothing new, and so nothing to be stored.
        (_, directory) = (project.root / "reaper").read_text().split()
        wait_for(lambda: not Path(directory).exists(), 60, message="the reaper's work")


def test_workers_share_a_server_from_a_snapshot(
    cache: Path, project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.plugins = ("xdist", "xdist.looponfail")
    for _ in range(2):
        result = project.run("--berth-source=local", "-n2")
        result.assert_outcomes(passed=2)

    result.stdout.fnmatch_lines([FROM_SNAPSHOT])
    assert len(_snapshots(cache)) == 1


def test_a_snapshot_that_is_of_no_use_is_removed_and_the_server_starts_without(
    cache: Path, project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.run("--berth-source=local").assert_outcomes(passed=2)
    (snapshot,) = _snapshots(cache)
    (cache / "snapshots" / snapshot / "PG_VERSION").write_text("1")

    second, third = (project.run("--berth-source=local", "-v") for _ in range(2))

    second.assert_outcomes(passed=2)
    second.stdout.fnmatch_lines(["*postgres: its snapshot is of no use, and is removed: *ended*"])
    second.stdout.no_fnmatch_line(FROM_SNAPSHOT)
    third.assert_outcomes(passed=2)
    third.stdout.fnmatch_lines([FROM_SNAPSHOT])


def test_a_container_of_kafka_starts_from_storage_that_is_formatted(
    cache: Path, project: Project, require_service: Callable[[Service, str], None]
) -> None:
    require_service(KAFKA, "container")
    project.write(
        test_users="""
        from pathlib import Path
        from subprocess import check_output

        def test_order(kafka_probe, kafka_topic, pytestconfig):
            kafka_probe.publish(kafka_topic, "hello")
            assert kafka_probe.expect_one(kafka_topic).text() == "hello"
            listed = ["docker", "ps", "-q", "--filter", f"publish={PORT}"]
            container = check_output(listed, text=True).strip()
            Path("log.txt").write_bytes(check_output(["docker", "logs", container]))
            in_memory = ["docker", "inspect", "-f", "{{json .HostConfig.Tmpfs}}", container]
            Path("memory.txt").write_bytes(check_output(in_memory))
        """.replace("{PORT}", "{kafka_probe.bootstrap.rpartition(':')[2]}")
    )
    formats = b"Using provided cluster id"

    project.run("--berth-source=container").assert_outcomes(passed=1)
    assert formats in (project.root / "log.txt").read_bytes()
    assert b"berth-kafka" not in (project.root / "memory.txt").read_bytes()
    second = project.run("--berth-source=container", "-v")

    second.assert_outcomes(passed=1)
    second.stdout.fnmatch_lines([FROM_SNAPSHOT])
    assert formats not in (project.root / "log.txt").read_bytes()
    assert b"berth-kafka" in (project.root / "memory.txt").read_bytes()


@pytest.mark.slow
def test_of_the_servers_that_workers_have_for_themselves_one_is_kept(
    cache: Path, project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.plugins = ("xdist",)
    project.models(
        "berth_pg_scope = worker",
        "berth_pg_user = shop",
        "berth_pg_password = secret",
        "berth_pg_database = shop",
        "berth_export = APP_PORT = {pg_port}",
    )
    project.write(
        test_users="""
        import os
        import psycopg
        import pytest

        URL = "postgresql://shop:secret@localhost:" + os.environ["APP_PORT"] + "/shop"

        @pytest.mark.parametrize("number", range(6))
        def test_application(pg_session, number):
            with psycopg.connect(URL) as connection:
                assert connection.execute("SELECT * FROM users").fetchall() == []
                connection.execute("INSERT INTO users (email) VALUES ('a@example.com')")
            with open("servers", "a") as file:
                print(os.environ["PYTEST_XDIST_WORKER"], os.environ["APP_PORT"], file=file)
        """
    )

    for _ in range(2):
        result = project.run("--berth-source=local", "-n2", "--dist=load")
        result.assert_outcomes(passed=6)

    result.stdout.fnmatch_lines([FROM_SNAPSHOT])
    servers = {line.split()[1] for line in (project.root / "servers").read_text().splitlines()}
    assert len(servers) == 4
    assert len(_snapshots(cache)) == 1


def _snapshots(cache: Path) -> list[str]:
    place = cache / "snapshots"
    return [path.name for path in place.iterdir() if path.is_dir()] if place.exists() else []


CRASHES = """
    import os
    import psycopg
    import pytest
    from pytest_berth import wait_for

    def crash(dsn):
        with psycopg.connect(dsn, autocommit=True) as connection:
            os.kill(connection.info.backend_pid, 9)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")

    def test_crash_first(pg_dsn): crash(pg_dsn)

    def test_look(pg_dsn):
        with psycopg.connect(pg_dsn) as connection:
            assert connection.execute("SELECT count(*) FROM unlogged").fetchone() == (2,)

    @pytest.mark.berth_pg(isolation="none")
    def test_crash_that_nobody_notices(pg_dsn):
        crash(pg_dsn)
        # A server that is recovering when the run ends is not kept.
        wait_for(lambda: psycopg.connect(pg_dsn), 60, ignore=psycopg.Error).close()
"""


# The longer way crashes on a template from a snapshot, the shorter one on the run's own.
@pytest.mark.parametrize(
    "runs", [["first or look", "look"], *nightly(["look", "first or look", "look"])]
)
def test_no_snapshot_holds_a_template_whose_unlogged_tables_a_crash_has_emptied(
    cache: Path, project: Project, require_source: Callable[[str], None], runs: list[str]
) -> None:
    require_source("local")
    project.ini("berth_source = local", "berth_pg_schema = schema.sql")
    (project.root / "schema.sql").write_text(
        "CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 2) AS n"
    )
    (project.root / "test_users.py").unlink()
    project.write(test_it=CRASHES)
    project.run("-k", "nobody").assert_outcomes(passed=1, deselected=2)
    # What has crashed is kept without its template, so that this one makes and keeps a new one.
    for selected in runs:
        result = project.run("-v", "-k", selected)
        passed = len(selected.split(" or "))
        result.assert_outcomes(passed=passed, deselected=3 - passed)
        result.stdout.fnmatch_lines([FROM_SNAPSHOT])
