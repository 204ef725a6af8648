"""`pytest_berth.servers`: servers for scripts, with what a run gives to tests, and nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from conftest import TIMEOUT
from marks import nightly
from pytest_berth import wait_for
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Project
    from pytest_berth.api import Service

EXPORTS = (
    "berth_export =",
    "    DATABASE_URL = {pg_url}",
    "    CACHE = {redis_url}",
    "    MODE = test",
)
WORK = """
    import json, os, psycopg, pytest_berth, redis, sys

    with pytest_berth.servers() as servers:
        url = servers["postgres"].values["pg_dsn"]
        cache = redis.from_url(servers["redis"].url)
        with psycopg.connect(url, autocommit=True) as connection:
            def counts():
                users = connection.execute("SELECT count(*) FROM users").fetchone()[0]
                return [users, cache.dbsize()]

            def write(email):
                connection.execute("INSERT INTO users (email) VALUES (%s)", [email])
                cache.set(email, 1)

            found = [counts()]
            write("stays")
            with servers.isolated():
                write("goes")
                found.append(counts())
            found.append(counts())
        os.environ.update(servers.environment)
        print(json.dumps({
            "counts": found,
            "environment": sorted(servers.environment),
            "same": os.environ["CACHE"] == servers["redis"].url,
            "sources": sorted({each.server.source for each in servers.values()}),
            "logged": "ready to accept connections" in servers["postgres"].server.log(),
        }))
    cache.ping()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    # Not below pytest's own: a server that root starts as another user must get there.
    with tempfile.TemporaryDirectory(prefix="servers-", ignore_cleanup_errors=True) as path:
        Path(path).chmod(0o755)
        yield Path(path)


def run(project: Project, name: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a script of the project's to its end."""
    return subprocess.run(
        [sys.executable, f"{name}.py"],
        cwd=project.root,
        env={**os.environ, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def leftovers(place: Path) -> list[str]:
    """Return the directories and processes of runs with this temporary directory."""
    lines = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
    found = [str(path) for path in place.glob("berth-*") if "ports" not in path.name]
    return found + [line for line in lines if str(place) in line]


@pytest.mark.parametrize("source", ["container", *nightly("local")])
def test_a_script_has_schema_environment_and_a_clean_slate_and_leaves_nothing(
    source: str,
    project: Project,
    place: Path,
    require_source: Callable[[str], None],
    require_service: Callable[[Service, str], None],
) -> None:
    require_source(source)
    require_service(REDIS, source)
    # The options of other plugins are passed over.
    project.models(*EXPORTS, f"addopts = -n 4 --of-another=plugin --berth-source={source}")
    project.write(script=WORK)

    ended = run(project, "script", place)

    assert '"counts": [[0, 0], [2, 2], [1, 1]]' in ended.stdout, ended.stderr
    assert '"environment": ["CACHE", "DATABASE_URL", "MODE"], "same": true' in ended.stdout
    assert f'"sources": ["{source}"], "logged": true' in ended.stdout
    assert "ConnectionError" in ended.stderr.splitlines()[-1]
    wait_for(lambda: not leftovers(place), 60, message="the end of the reaper")


def test_mistakes_are_told_as_in_a_run_and_other_servers_are_stopped(
    project: Project, place: Path, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini("berth_source = local", "berth_redis_source = external")
    project.write(
        script="""
        import pytest_berth
        from pytest_berth.errors import BerthError

        def attempt(*services, **settings):
            try:
                with pytest_berth.servers(*services, settings=settings):
                    raise AssertionError("it was opened")
            except BerthError as error:
                print(f"{error}\\n")

        attempt("psotgres")
        attempt()
        attempt("pg", berth_pg_versio="17")
        attempt("pg", berth_start_timeout="soon")
        attempt("pg", berth_pg_schema=["nothing:Base.metadata"])
        attempt("pg", "redis")
        open("pytest.ini", "w").write("berth_pg_version = 17")
        attempt("pg")
        """
    )

    ended = run(project, "script", place)

    told = ended.stdout
    assert ended.returncode == 0, ended.stderr
    assert "there is no service 'psotgres'.\n" in told
    assert "do:  did you mean 'postgres'?" in told
    assert "no service is asked for.\n" in told
    assert "unknown setting 'berth_pg_versio'.\n" in told
    assert "berth_start_timeout has a value that cannot be used.\n" in told
    assert "the module 'nothing' was not found.\n" in told
    assert "redis cannot be served from the source asked for" in told
    assert "the project's settings cannot be read.\n" in told
    assert "pytest.ini:1: no section header defined" in told
    wait_for(lambda: not leftovers(place), 60, message="the end of the reaper")


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize("source", ["local", *nightly("container")])
def test_a_killed_script_leaves_nothing(
    source: str, project: Project, place: Path, require_source: Callable[[str], None]
) -> None:
    require_source(source)
    project.ini(f"berth_source = {source}")
    project.write(
        script="""
        import pytest_berth, threading

        with pytest_berth.servers("postgres") as servers:
            print(servers["postgres"].values["pg_dsn"], flush=True)
            threading.Event().wait(600)
        """
    )
    with subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=project.root,
        env={**os.environ, "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgresql://")
        assert leftovers(place)
        process.send_signal(signal.SIGKILL)

    wait_for(lambda: not leftovers(place), 60, message="the end of all that was started")
