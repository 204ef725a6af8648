"""The end of a run does not wait for its containers, where the reaper can remove them."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import psutil
import pytest
from docker.errors import DockerException

from pytest_berth import wait_for
from pytest_berth.sources.labels import RUN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Project

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")

TESTS = """
    import os, signal, tempfile
    from pathlib import Path
    from pytest_berth import wait_for

    def test_it(redis_url):
        # Of an earlier run, whose reaper was killed, one may still be there.
        found = Path(tempfile.gettempdir()).glob("berth-*/redis.launched.json")
        noted = max(found, key=lambda path: path.stat().st_mtime)
        reaper = noted.with_name("reaper.json")
        pid = wait_for(lambda: reaper.exists() and __import__("json").loads(reaper.read_text())[0])
        Path("noted").write_text(f"{pid} {noted.parent.name.split('-')[1]}")
        name = os.environ.get("TO_REAPER")
        if name:
            os.kill(pid, getattr(signal, name))
"""


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        pytest.skip(f"no container engine: {error}")
    yield client
    client.close()


@pytest.fixture
def place(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a temporary directory of this test's own, whose runs are swept up by its runs only."""
    project.ini("berth_source = container", "berth_wait_at_end = off")
    project.write(test_it=TESTS)
    with tempfile.TemporaryDirectory(prefix="handed-", ignore_cleanup_errors=True) as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)


def test_the_reaper_removes_what_a_run_has_left_to_it(
    project: Project, place: Path, client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(to_reaper: str) -> tuple[int, str]:
        monkeypatch.setenv("TO_REAPER", to_reaper)
        project.run().assert_outcomes(passed=1)
        pid, run_id = (project.root / "noted").read_text().split()
        return int(pid), run_id

    def containers(run_id: str) -> list[str]:
        found = client.containers.list(all=True, filters={"label": f"{RUN}={run_id}"}, sparse=True)
        return [container.id for container in found]

    def directories(run_id: str) -> list[Path]:
        return list(place.glob(f"berth-{run_id}-*"))

    def nothing_is_left_of(*runs: str) -> bool:
        return not any([*containers(each), *directories(each)] for each in runs)

    # A reaper that stands still shows that pytest has not waited.
    pid, of_first = run("SIGSTOP")
    (left,) = containers(of_first)
    (directory,) = directories(of_first)
    told = json.loads((directory / "handed-over").read_text())
    assert [container for _, container, _ in told] == [left]
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: nothing_is_left_of(of_first), 60, message="the reaper's work")
    wait_for(lambda: not psutil.pid_exists(pid), 60, message="the reaper's own end")

    # One that is killed at it leaves it to the next run's.
    pid, of_second = run("SIGSTOP")
    os.kill(pid, signal.SIGKILL)
    assert containers(of_second)

    # Where there is none any more at the end, pytest waits.
    _, of_third = run("SIGKILL")
    assert nothing_is_left_of(of_third)
    wait_for(lambda: nothing_is_left_of(of_second), 60, message="the next run's reaper's work")


def test_a_fixed_port_is_free_when_pytest_ends(
    project: Project, place: Path, client: docker.DockerClient
) -> None:
    project.ini("berth_source = container", "berth_wait_at_end = off", "berth_redis_port = 17653")
    project.run().assert_outcomes(passed=1)
    _, run_id = (project.root / "noted").read_text().split()
    filters = {"label": f"{RUN}={run_id}"}
    assert not client.containers.list(all=True, filters=filters, sparse=True)
