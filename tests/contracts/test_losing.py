"""A server that is lost in the middle of a run: each later test says so, and the run ends."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Project
    from tests.contracts.conftest import Berthed, Stage

LOSE = """
    import json, pathlib
    import docker, psutil, pytest

    @pytest.fixture(scope="session")
    def lose(pg_server):
        def lose():
            handle = pg_server._server.handle
            pathlib.Path("handle.json").write_text(json.dumps(handle))
            if pg_server.source == "container":
                client = docker.from_env()
                client.containers.get(handle["container"]).kill()
                client.close()
            else:
                process = psutil.Process(handle["pid"])
                family = [process, *process.children(recursive=True)]
                process.kill()
                psutil.wait_procs(family[1:], timeout=30)
        return lose
"""
ROLLED_BACK = """
    from sqlalchemy import text

    def test_before(pg_session):
        assert pg_session.scalar(text("SELECT 1")) == 1

    def test_losing(pg_session, lose):
        assert pg_session.scalar(text("SELECT 1")) == 1
        lose()

    def test_later(pg_session):
        pg_session.execute(text("SELECT 1"))

    def test_much_later(pg_connection):
        pg_connection.execute(text("SELECT 1"))

    def test_unit():
        pass
"""
COMMITTING = """
    from sqlalchemy import text

    def test_before(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users (email) VALUES ('a')"))

    def test_losing(pg_engine, lose):
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users (email) VALUES ('a')"))
        lose()

    def test_later(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(text("SELECT 1"))

    def test_much_later(pg_session):
        pg_session.execute(text("SELECT 1"))

    def test_unit():
        pass
"""


@pytest.mark.parametrize("tests", [ROLLED_BACK, COMMITTING], ids=["rollback", "truncation"])
def test_every_later_test_tells_that_the_server_is_lost(
    project: Project, starting: str, tests: str
) -> None:
    project.models(f"berth_source = {starting}")
    project.conftest(LOSE)
    project.write(test_all=tests)
    result = project.run("-v")
    output = result.stdout.str() + result.stderr.str()
    for name in ("test_before PASSED", "test_unit PASSED", "test_losing"):
        assert name in output
    for name in ("test_later", "test_much_later"):
        assert f"::{name} PASSED" not in output
        assert f"::{name} ERROR" in output or f"::{name} FAILED" in output
    ended = "the container exited" if starting == "container" else "has ended"
    assert output.count("the postgres server is lost") >= 2
    assert ended in output
    assert "INTERNALERROR" not in output
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not _is_left(json.loads((project.root / "handle.json").read_text()))


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
    return LOSE.replace('pg_server.source == "container"', "False").replace(
        'handle["pid"]', f"{pid}"
    )


def _is_left(handle: dict[str, Any]) -> bool:
    if "directory" in handle:
        return Path(handle["directory"]).exists()
    with closing(docker.from_env()) as client:
        return bool(client.containers.list(all=True, filters={"id": handle["container"]}))
