"""``--berth-keep``: runs of a project, one after the other, use the same servers, each clean."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_berth import wait_for
from pytest_berth.run.reuse.records import Record, Records
from temporary import open_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Project

TESTS = """
    import os, threading
    from pathlib import Path
    from sqlalchemy import text

    def test_it(pg_engine, redis_client):
        with pg_engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            server = connection.scalar(text("SELECT pg_postmaster_start_time()"))
            made = connection.scalar(text("SELECT at FROM made"))
            assert not connection.scalar(text("SELECT count(*) FROM written"))
            assert not connection.scalar(text("SELECT count(*) FROM pg_roles WHERE oid > 16384"))
            connection.execute(text("INSERT INTO written VALUES (1)"))
            if not os.environ.get("PYTEST_XDIST_WORKER"):
                connection.execute(text("CREATE ROLE left_behind"))
        assert redis_client.dbsize() == 0
        redis_client.set("left", "behind")
        redis = redis_client.info("server")["run_id"]
        with Path("seen.txt").open("a") as seen:
            seen.write(f"{server} {made} {redis}\\n")
        threading.Event().wait(float(os.environ.get("TAKES", "0")))

    def test_it_again(pg_engine, redis_client):
        test_it(pg_engine, redis_client)
"""


@pytest.fixture
def temporary(
    project: Project, require_source: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A directory for all that runs leave; what they keep ends with the test."""
    require_source("local")
    project.write(test_it=TESTS)
    (project.root / "schema.sql").write_text(
        "CREATE TABLE made AS SELECT clock_timestamp() AS at; CREATE TABLE written (n int)"
    )
    project.ini("berth_source = local", "berth_keep = 10m", "berth_pg_schema = schema.sql")
    with open_home() as place:
        monkeypatch.setenv("TMPDIR", str(place))
        yield place
        if kept(place):
            project.run("--berth-stop")
        wait_for(lambda: not processes(place), 30)


def processes(directory: Path) -> list[psutil.Process]:
    """Return the processes whose command line names a directory: servers, helpers."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in word for word in process.info["cmdline"] or ())
    ]


def kept(temporary: Path) -> list[Record]:
    """Return the records of what is kept."""
    return [each for path in temporary.glob("berth-kept-*") for each in Records(path).all()]


def seen(project: Project) -> list[str]:
    """Return which servers, and which template, each test has seen."""
    return (project.root / "seen.txt").read_text().splitlines()


def test_runs_share_servers_and_template_with_workers_and_exports_too(
    project: Project, temporary: Path
) -> None:
    project.plugins = ("xdist", "xdist.looponfail")
    project.run("-k", "not again").assert_outcomes(passed=1)
    with (project.root / "pytest.ini").open("a") as ini:
        ini.write("berth_export = APP_REDIS = {redis_url}\n")
    second = project.run("-n2", "-v")

    second.assert_outcomes(passed=2)
    second.stdout.fnmatch_lines(["*postgres * ready in * local, * kept by an earlier run, *"])
    assert len(set(seen(project))) == 1
    assert len(seen(project)) == 3
    assert len(kept(temporary)) == 2

    stopped = project.run("--berth-stop")
    assert stopped.ret == 0
    stopped.stdout.fnmatch_lines(["berth: postgres *: ended", "berth: redis *: ended"])
    project.run("--berth-stop").stdout.fnmatch_lines(["berth: no server is kept for *"])
    wait_for(lambda: not processes(temporary), 30)
    assert {path.name.rpartition("-")[0] for path in temporary.iterdir()} == {
        "berth-kept",
        "berth-ports",
    }


def test_what_a_killed_run_has_written_is_not_seen_by_the_next(
    project: Project, temporary: Path
) -> None:
    command = [sys.executable, "-m", "pytest", *project.arguments("-k", "not again")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAKES", "100")
        run = subprocess.Popen(command, cwd=project.root, stdout=subprocess.DEVNULL)
    try:
        wait_for((project.root / "seen.txt").exists, 60)
        stays = project.run("--berth-stop")
        assert stays.ret == 1
        stays.stdout.fnmatch_lines(["berth: redis *: stays, as a run uses it"])
    finally:
        run.kill()
        run.wait()
    wait_for(lambda: not any(temporary.glob("berth-*/owner.json")), 60)
    assert [record.is_used for record in kept(temporary)] == [False, False]

    project.run("-k", "not again").assert_outcomes(passed=1)

    first, second = seen(project)
    assert first == second


def test_the_end_of_the_time_ends_servers_and_helpers(project: Project, temporary: Path) -> None:
    project.run("--berth-keep=1s", "-k", "not again").assert_outcomes(passed=1)

    wait_for(lambda: not kept(temporary) and not processes(temporary), 60)
    assert not any(temporary.glob("berth-server-*"))


def test_a_time_that_is_none_is_a_usage_error(project: Project) -> None:
    result = project.run("--berth-keep=15x")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: berth_keep has a value that cannot be used.",
            "*why: '15x', set by --berth-keep",
            "*do:  use a number with its unit: 90s, 15m or 1h; 0 for not at all",
        ]
    )


CRASHES = """
    import psycopg
    import pytest

    def crash(dsn):
        witness = psycopg.connect(dsn, autocommit=True)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("INSERT INTO logged VALUES (9)")
            own = connection.info.backend_pid
            with pytest.raises(psycopg.OperationalError):
                connection.execute(f"COPY (SELECT 1) TO PROGRAM 'kill -9 {own}; sleep 60'")
        # The server notices a little later, and then ends all other connections.
        with pytest.raises(psycopg.OperationalError):
            while True:
                witness.execute("SELECT 1")

    def look(connection):
        found = connection.exec_driver_sql(
            "SELECT (SELECT count(*) FROM unlogged), (SELECT count(*) FROM logged)"
        )
        assert found.one() == (2, 2)

    @pytest.fixture(params=["pg_connection", "pg_database", "pg_engine"])
    def connection(request):
        found = request.getfixturevalue(request.param)
        if request.param == "pg_connection":
            yield found
        else:
            with getattr(found, "engine", found).connect() as connection:
                yield connection

    def test_before(connection): look(connection)
    def test_crash(pg_dsn): crash(pg_dsn)
    def test_after(connection): look(connection)
    def test_crash_beside(pg_session, pg_database): crash(pg_database.dsn)
    def test_after_that(connection): look(connection)
    def test_crash_at_last(pg_dsn): crash(pg_dsn)
"""


def test_after_a_crash_of_the_server_unlogged_tables_hold_what_they_are_seeded_with(
    project: Project, temporary: Path
) -> None:
    project.write(test_it=CRASHES)
    (project.root / "schema.sql").write_text(
        "CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 2) AS n;"
        " CREATE TABLE logged AS SELECT generate_series(1, 2) AS n;"
    )
    first = project.run("-v")
    first.assert_outcomes(passed=12)
    first.stdout.fnmatch_lines(["berth: postgres: while test_it.py::test_crash ran, *crashed *"])
    second = project.run("-v", "-k", "not crash")
    second.assert_outcomes(passed=9, deselected=3)
    second.stdout.fnmatch_lines(["*postgres * ready in * kept by an earlier run, *"])
    assert len(kept(temporary)) == 1
