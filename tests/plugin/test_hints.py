"""Hints at the end of a run: each is shown where it is meant, and in no ordinary run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from pytest_berth.sources import artifact_cache
from pytest_berth.waiting import wall_clock
from temporary import open_home

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conftest import Project

SCHEMA_TOOK = r"postgres: schema and seeds took \d+\.\d s, and will in each run: "
UNTOUCHED = """
    import pytest

    @pytest.mark.parametrize("number", range(5))
    def test_postgres(pg_url, number): pass

    @pytest.mark.parametrize("number", range(5))
    def test_redis(redis_url, number): pass
"""
APPLICATION = """
    import os

    import psycopg
    import redis

    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("SELECT count(*) FROM users")
    redis.Redis.from_url(os.environ["REDIS_URL"]).get("a")
"""
SUBPROCESS = """
    import subprocess
    import sys

    import pytest

    @pytest.mark.parametrize("number", range(5))
    def test_application(pg_url, redis_url, number):
        if number == 4:
            subprocess.run([sys.executable, "application.py"], check=True)
"""
READING = """
    import pytest
    from sqlalchemy import text

    @pytest.mark.parametrize("number", range(5))
    def test_reading(pg_engine, number):
        with pg_engine.begin() as connection:
            connection.execute(text("SELECT count(*) FROM users"))
"""
WRITING = """
    from sqlalchemy import text

    def test_writing(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users (email) VALUES ('x')"))
"""
# Any time is noticed.
CONFTEST = """
    from pytest_berth.reporting import run_hints

    run_hints.NOTICEABLE = 0.0
"""


@pytest.fixture
def local(project: Project, require_source: Callable[[str], None]) -> Project:
    """A project whose servers are started for it."""
    require_source("local")
    project.models(
        "berth_source = local",
        "berth_export =",
        "    DATABASE_URL = {pg_dsn}",
        "    REDIS_URL = {redis_url}",
    )
    return project


def hints(result: pytest.RunResult) -> Sequence[str]:
    """Return the lines of hints."""
    return [line.removeprefix("hint: ") for line in result.outlines if line.startswith("hint: ")]


def test_servers_that_nothing_has_connected_to_are_told_once(local: Project) -> None:
    local.plugins = ("xdist",)
    local.write(test_it=UNTOUCHED)
    result = local.run("-n", "2")
    result.assert_outcomes(passed=10)
    assert list(hints(result)) == [
        f"{service}: nothing has connected to the server of this run, of which berth_export tells"
        f" ({variable}), though 5 tests passed: the application may work on another one"
        for service, variable in (("postgres", "DATABASE_URL"), ("redis", "REDIS_URL"))
    ]
    local.ini("berth_source = local", "berth_pg_schema = models:Base.metadata")
    unexported = local.run("-k", "redis")
    assert hints(unexported) == [
        "redis: it was started for 5 tests, and nothing has connected to it: do they need its"
        " fixtures, or berth_autouse?"
    ]


def test_another_process_that_connects_or_a_failing_test_is_enough(local: Project) -> None:
    local.write(test_it=SUBPROCESS, application=APPLICATION)
    result = local.run()
    result.assert_outcomes(passed=5)
    assert hints(result) == []
    local.write(test_it=UNTOUCHED, test_more="def test_failing(redis_url): assert False")
    result = local.run("-k", "redis or failing")
    result.assert_outcomes(passed=5, failed=1)
    assert hints(result) == []


def test_what_would_be_faster_is_told_and_berth_hints_silences_all(local: Project) -> None:
    local.ini("berth_source = local", "berth_pg_schema = models:Base.metadata")
    local.write(test_reading=READING)
    local.conftest(CONFTEST)
    cached = local.root / ".pytest_cache/v/berth/starts"
    cached.parent.mkdir(parents=True)
    cached.write_text(json.dumps({"postgres": [wall_clock() - 20, wall_clock() - 10]}))
    result = local.run("--berth-json=run.json")
    schema, start, reading = hints(result)
    assert json.loads((local.root / "run.json").read_text())["hints"] == hints(result)
    assert re.match(SCHEMA_TOOK, schema)
    assert schema.endswith(
        " s, and will in each run: berth_snapshots = off (BERTH_SNAPSHOTS); with auto, later runs"
        " start from what is there"
    )
    assert start.startswith("postgres: its start takes ")
    assert start.endswith(" s in each run: --berth-keep=15m keeps it for the next one")
    assert reading == (
        "postgres: test_reading.py: none of its 5 tests that ask for pg_engine writes anything:"
        " with pg_connection or pg_session they are rolled back, which takes less time"
    )
    assert hints(local.run("-o", "berth_hints=false")) == []


def test_that_no_snapshot_can_be_kept_is_told_where_it_costs_seconds(local: Project) -> None:
    local.ini("berth_source = local", "berth_pg_schema = models:Base.metadata")
    local.write(test_it="def test_rolled_back(pg_session): pass")
    local.conftest(CONFTEST)
    binaries = list(artifact_cache.cache_directory().glob("embedded*"))
    with open_home() as cache:
        for path in binaries:
            (cache / path.name).symlink_to(path)
        (cache / "secret").write_text("known to all")
        (cache / "secret").chmod(0o644)
        (schema,) = hints(local.run(BERTH_CACHE=str(cache), BERTH_SNAPSHOTS="auto"))
    assert re.match(SCHEMA_TOOK, schema)
    assert " s, and will in each run: no snapshot can be kept here: " in schema
    assert schema.endswith(f"{cache}/secret is not this user's alone")


def test_an_ordinary_run_has_none_and_ci_starts_anew_each_time(local: Project) -> None:
    local.ini("berth_source = local", "berth_pg_schema = models:Base.metadata")
    local.write(test_reading=READING, test_it="def test_rolled_back(pg_session): pass")
    with (local.root / "test_reading.py").open("a") as module:
        module.write("\n".join(line[4:] for line in WRITING.splitlines()))
    result = local.run()
    result.assert_outcomes(passed=7)
    assert hints(result) == []
    local.conftest(CONFTEST)
    assert hints(local.run(CI="true")) == []


def test_exported_variables_that_something_has_changed_are_named(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.models(
        "berth_source = local",
        "berth_export =",
        "    DATABASE_URL = {pg_dsn}",
        "    OTHER_DRIVER = {pg_dsn}",
        "    DB_HOST = {pg_host}",
        "    OTHER_HOST = {pg_dsn}",
        "    REDIS_URL = {redis_url}",
    )
    project.conftest("""
        import os

        os.environ["DATABASE_URL"] = "postgresql://me:hidden-word@localhost:5432/shop_test"
        os.environ["OTHER_DRIVER"] = os.environ["OTHER_DRIVER"].replace("sql:", "sql+asyncpg:")
        os.environ["DB_HOST"] = "localhost"
        port = os.environ["OTHER_DRIVER"].rpartition(":")[2]
        os.environ["OTHER_HOST"] = f"postgresql://me:hidden-word@db.example.com:{port}"
    """)
    project.write(
        test_it="""
        def test_it(pg_url, monkeypatch):
            monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
        """
    )

    result = project.run()

    result.assert_outcomes(passed=1)
    (hint,) = hints(result)
    assert hint.startswith("berth_export has set DATABASE_URL and OTHER_HOST, and something has")
    assert "hidden-word" not in result.stdout.str()
