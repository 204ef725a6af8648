"""A run that is killed leaves nothing: no process, no container, no directory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import shared_segments
from marks import nightly
from pytest_berth import wait_for
from pytest_berth.run import heartbeat
from pytest_berth.run.registry import OWNER, is_known
from pytest_berth.sources.container_engine import EngineUnreachableError, connect
from pytest_berth.sources.labels import RUN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conftest import Project

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")

SLOW_TESTS = """
    import os, subprocess, sys, threading
    from pathlib import Path

    def test_that_takes_long(pg_session):
        Path("testing").touch()
        threading.Event().wait(60)

    def test_with_a_forked_child(pg_session):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path("forked").write_text(str(child.pid))
        threading.Event().wait(60)

    def test_that_starts_on_another_worker(pg_session):
        threading.Event().wait(60)
"""


@dataclass
class Run:
    """A pytest in a process group of its own, with a temporary directory of its own."""

    process: subprocess.Popen[bytes]
    place: Path

    @property
    def directory(self) -> Path | None:
        """The run's directory, once it is there."""
        return next((owner.parent for owner in self.place.glob("berth-*/owner.json")), None)

    def has(self, pattern: str) -> bool:
        """Tell whether the run's directory has a file of that name."""
        return self.directory is not None and any(self.directory.glob(pattern))

    def leftovers(self) -> list[str]:
        """Return what there is of the run: directories, processes, containers."""
        found = [str(path) for path in self.place.glob("berth-*") if "ports" not in path.name]
        return found + processes(self.place)


def processes(place: Path) -> list[str]:
    """Return the processes that have a temporary directory on their command line."""
    lines = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
    return [line for line in lines if str(place) in line]


@pytest.fixture
def place() -> Iterator[Path]:
    # Not below pytest's own: a server that root starts as another user must get there.
    path = Path(tempfile.mkdtemp(prefix="killed-"))
    path.chmod(0o755)
    yield path
    # Reapers of the runs that were killed may be at it, too.
    wait_for(lambda: _is_removed(path), 60, message=f"removal of {path}")


def _is_removed(path: Path) -> bool:
    if any("postgres" in each for each in processes(path)):
        return False
    shared_segments.release(path)
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


@pytest.fixture
def start(project: Project, place: Path) -> Iterator[Callable[..., Run]]:
    """Start a run of tests that take long."""
    project.ini()
    project.write(test_slow=SLOW_TESTS)
    runs: list[Run] = []

    def begin(*arguments: str, before: Sequence[str] = ()) -> Run:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "pytest", *project.arguments(*arguments)],
            cwd=project.root,
            env={**os.environ, "TMPDIR": str(place)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        runs.append(Run(process, place))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.process.wait()


def containers(run_id: str) -> list[str]:
    try:
        engine = connect()
    except EngineUnreachableError:
        return []
    # Without the details of each, as it may be removed meanwhile.
    found = engine.containers.list(all=True, filters={"label": f"{RUN}={run_id}"}, sparse=True)
    return [container.id for container in found]


def expect_nothing_left(run: Run, run_id: str) -> None:
    wait_for(
        lambda: not run.leftovers() and not containers(run_id),
        60,
        message=f"nothing left of {run_id}",
    )


def until(run: Run, condition: Callable[[], bool]) -> str:
    """Wait for a moment in the life of a run and return the run's id."""
    wait_for(condition, 60, message="the moment to kill")
    assert run.directory is not None
    return run.directory.name.split("-")[1]


@pytest.fixture(params=["local", *nightly("container")])
def source(request: pytest.FixtureRequest, require_source: Callable[[str], None]) -> str:
    require_source(request.param)
    return str(request.param)


@pytest.mark.parametrize("moment", ["reaper.log", "*.planned.json", "*.launched.json"])
def test_a_run_killed_while_its_server_starts(
    start: Callable[..., Run], source: str, moment: str
) -> None:
    run = start(f"--berth-source={source}", "-k", "takes_long")
    run_id = until(run, lambda: run.has(moment))
    run.process.kill()
    expect_nothing_left(run, run_id)


@pytest.mark.parametrize(
    "signal_name", ["SIGKILL", pytest.param("SIGTERM", marks=pytest.mark.slow), *nightly("SIGHUP")]
)
def test_a_run_killed_in_a_test(
    start: Callable[..., Run], project: Project, source: str, signal_name: str
) -> None:
    run = start(f"--berth-source={source}", "-k", "takes_long")
    run_id = until(run, (project.root / "testing").exists)
    run.process.send_signal(getattr(signal, signal_name))
    expect_nothing_left(run, run_id)


def test_a_child_that_a_test_has_forked_does_not_keep_the_reaper_waiting(
    start: Callable[..., Run], project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    run = start("--berth-source=local", "-k", "forked_child")
    forked = project.root / "forked"
    run_id = until(run, lambda: forked.exists() and bool(forked.read_text()))
    run.process.kill()
    expect_nothing_left(run, run_id)
    child = psutil.Process(int(forked.read_text()))
    assert child.is_running()
    child.kill()


def test_a_controller_killed_under_xdist(
    start: Callable[..., Run], project: Project, source: str
) -> None:
    project.plugins = ("xdist", "xdist.looponfail")
    run = start(f"--berth-source={source}", "-n2", "-k", "takes_long or another_worker")
    run_id = until(run, (project.root / "testing").exists)
    run.process.kill()
    expect_nothing_left(run, run_id)


def test_a_run_that_ends_well_leaves_no_reaper(
    project: Project, place: Path, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini()
    project.write(test_quick="def test_quick(pg_session): pass")
    result = project.run("--berth-source=local", TMPDIR=str(place))
    result.assert_outcomes(passed=1)
    run = Run(subprocess.Popen(["true"]), place)
    run.process.wait()
    wait_for(lambda: not run.leftovers(), 60, message="the reaper's end")


def test_the_next_run_sweeps_up_behind_one_whose_reaper_was_killed_too(
    start: Callable[..., Run], project: Project, place: Path, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    run = start("--berth-source=local", "-k", "takes_long")
    run_id = until(run, (project.root / "testing").exists)
    for process in psutil.process_iter(["cmdline"]):
        if "reaper.main" in " ".join(process.info["cmdline"] or ()) and str(place) in " ".join(
            process.info["cmdline"]
        ):
            process.kill()
    run.process.kill()
    run.process.wait()
    assert run.leftovers()
    project.write(test_quick="def test_quick(pg_session): pass")
    project.run("--berth-source=local", "test_quick.py", TMPDIR=str(place))
    expect_nothing_left(run, run_id)


def test_a_living_run_is_left_alone_by_the_next_one(
    start: Callable[..., Run], project: Project, place: Path, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    run = start("--berth-source=local", "-k", "takes_long")
    until(run, (project.root / "testing").exists)
    project.write(test_quick="def test_quick(pg_session): pass")
    project.run("--berth-source=local", "test_quick.py", TMPDIR=str(place)).assert_outcomes(
        passed=1
    )
    assert run.process.poll() is None
    assert run.has("postgres.ready.json")
    assert run.directory
    assert [path.name for path in run.directory.iterdir() if not is_known(path.name)] == []
    assert any("postgres" in leftover for leftover in run.leftovers())


@pytest.fixture
def elsewhere(project: Project, require_source: Callable[[str], None]) -> list[str]:
    """Return what makes a command run in a pid namespace of its own, as in a container."""
    require_source("local")
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("pid namespaces cannot be made here")
    project.write(test_quick="def test_quick(pg_session): pass")
    return command


def be_silent(run: Run) -> None:
    """Make a run look as if nobody had touched its heartbeat for an hour."""
    assert run.directory is not None
    long_ago = (run.directory / "heartbeat").stat().st_mtime - 3700
    os.utime(run.directory / "heartbeat", (long_ago, long_ago))


def test_a_dead_run_of_another_container_is_swept_when_its_locks_are_free(
    start: Callable[..., Run], project: Project, place: Path, elsewhere: list[str]
) -> None:
    run = start("--berth-source=local", "-k", "takes_long", before=elsewhere)
    run_id = until(run, (project.root / "testing").exists)
    run.process.kill()
    run.process.wait()
    wait_for(lambda: not any("postgres" in each for each in processes(place)), 60)
    assert run.leftovers()
    segments = shared_segments.left(shared_segments.noted(place))
    assert segments
    be_silent(run)
    project.run("--berth-source=local", "test_quick.py", TMPDIR=str(place))
    expect_nothing_left(run, run_id)
    assert not shared_segments.left(segments), "its servers had other process ids there"


def test_a_living_run_of_another_container_is_left_alone(
    start: Callable[..., Run], project: Project, place: Path, elsewhere: list[str]
) -> None:
    run = start("--berth-source=local", "-k", "takes_long", before=elsewhere)
    until(run, (project.root / "testing").exists)
    directory = run.directory
    assert directory is not None
    be_silent(run)
    assert not heartbeat.has_ended(directory / OWNER)
    project.run("--berth-source=local", "test_quick.py", TMPDIR=str(place))
    assert run.process.poll() is None
    assert (directory / "postgres.ready.json").exists()
    wait_for(lambda: time.time() - (directory / "heartbeat").stat().st_mtime < 60, 60)


def test_a_link_that_is_planted_in_the_temporary_directory_is_not_followed(
    start: Callable[..., Run], project: Project, place: Path, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    run = start("--berth-source=local", "-k", "takes_long")
    run_id = until(run, (project.root / "testing").exists)
    dead = place / "dead"
    dead.mkdir()
    owner = json.loads((run.directory / OWNER).read_text()) if run.directory else []
    (dead / OWNER).write_text(json.dumps([owner[0], "0", owner[2]]))
    shutil.copy(run.directory / "postgres.planned.json", dead)
    # Followed, it would be a dead run of the living one's id.
    (place / f"berth-{run_id}-planted").symlink_to(dead)
    project.write(test_quick="def test_quick(pg_session): pass")
    project.run("--berth-source=local", "test_quick.py", TMPDIR=str(place))
    assert sorted(path.name for path in dead.iterdir()) == [OWNER, "postgres.planned.json"]
    assert any("postgres" in each for each in processes(place))
    assert list(place.glob(f"berth-server-{run_id}-*"))
    (place / f"berth-{run_id}-planted").unlink()
    run.process.kill()
    expect_nothing_left(run, run_id)
