"""Runs that end by violence at random moments leave nothing: no process, container or directory.

Each way is tried once; ``BERTH_TESTS_KILLS`` says how often, as the nightly session does.
"""

from __future__ import annotations

import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import shared_segments
from pytest_berth import wait_for
from pytest_berth.run import heartbeat, orphans
from pytest_berth.run.registry import OWNER
from pytest_berth.sources.container_engine import EngineUnreachableError, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them"),
]

KILLS = int(os.environ.get("BERTH_TESTS_KILLS", "1"))
# From before the first import to long after a container is ready.
LATEST = 6.0
TESTS = """
    import os, subprocess, sys, threading
    from pathlib import Path

    def test_that_takes_long(pg_session):
        threading.Event().wait(100)

    def test_with_a_forked_child(pg_session):
        # In a session of its own: else it would end with the terminal.
        program = [sys.executable, "-c", "import time; time.sleep(300)"]
        child = subprocess.Popen(program, start_new_session=True)
        Path("forked").write_text(str(child.pid))
        threading.Event().wait(100)

    def test_that_ends_its_process(pg_session):
        threading.Event().wait(float(os.environ["MOMENT"]))
        os._exit(1)

    def test_quick(pg_session):
        pass
"""


@dataclass(frozen=True)
class Way:
    """How a run ends.

    Attributes:
        tests: Which tests run.
        signals: What pytest is sent, one after the other; none where it ends of itself.
        workers: xdist's workers; 0 is without.
        hangs_up: Whether its terminal is closed instead.
    """

    tests: str
    signals: tuple[signal.Signals, ...] = ()
    workers: int = 0
    hangs_up: bool = False


WAYS = {
    "killed": Way("takes_long", (signal.SIGKILL,)),
    "killed-with-workers": Way("takes_long or quick", (signal.SIGKILL,), workers=2),
    "killed-with-a-forked-child": Way("forked_child", (signal.SIGKILL,)),
    "interrupted-twice": Way("takes_long", (signal.SIGINT, signal.SIGINT)),
    "terminal-closed": Way("takes_long", hangs_up=True),
    "a-worker-that-exits": Way("ends_its_process or quick", workers=2),
}


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="kills-"))
    path.chmod(0o755)
    yield path
    # Reapers of the runs that were killed may be at it, too.
    wait_for(lambda: _is_removed(path), 60, message=f"removal of {path}")


def _is_removed(path: Path) -> bool:
    shared_segments.release(path)
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


@pytest.fixture(params=["local", "container"])
def source(request: pytest.FixtureRequest, require_source: Callable[[str], None]) -> str:
    require_source(request.param)
    return str(request.param)


@pytest.fixture
def forked(project: Project) -> Iterator[Path]:
    """Where a test notes its child, which outlives the run."""
    path = project.root / "forked"
    yield path
    if path.exists() and path.read_text():
        with suppress(psutil.NoSuchProcess):
            psutil.Process(int(path.read_text())).kill()


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_of_a_run(
    project: Project, place: Path, source: str, forked: Path, way: str, number: int
) -> None:
    project.ini()
    project.write(test_kills=TESTS)
    moment = random.uniform(0, LATEST)
    began = end(project, place, source, WAYS[way], moment)
    there: list[str] = []

    def nothing() -> bool:
        there[:] = left(project, place)
        return not there

    try:
        wait_for(nothing, 60, interval=0.1)
    except TimeoutError:
        logs = [path.read_text() for path in place.glob("berth-*/reaper.log")]
        pytest.fail(f"of what ended after {moment:.2f} s this is left: {there} {logs}")
    print(f"ended after {moment:.2f} s, nothing left {time.monotonic() - began:.1f} s later")
    child = int(forked.read_text() or 0) if forked.exists() else 0
    assert not child or psutil.pid_exists(child)


def end(project: Project, place: Path, source: str, way: Way, moment: float) -> float:
    """Run pytest, end it at the moment, and return when that was."""
    if way.workers:
        project.plugins = ("xdist", "xdist.looponfail")
    workers = [f"-n{way.workers}"] if way.workers else []
    options = project.arguments(f"--berth-source={source}", "-k", way.tests, *workers)
    master, terminal = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, "-m", "pytest", *options],
        cwd=project.root,
        env={**os.environ, "TMPDIR": str(place), "MOMENT": f"{moment:.2f}"},
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        # Of itself it ends only where a worker exits.
        run.wait(timeout=100 if not (way.signals or way.hangs_up) else moment)
    except subprocess.TimeoutExpired:
        for each in way.signals:
            run.send_signal(each)
    finally:
        os.close(master)
    began = time.monotonic()
    run.wait(timeout=300)
    return began


# A session's leader takes its standard input for its terminal, and then becomes pytest.
TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def left(project: Project, place: Path) -> list[str]:
    """Return what there is of the project's runs: directories, processes, containers."""
    found = [str(path) for path in place.glob("berth-*") if not is_harmless(path)]
    lines = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
    found += [line for line in lines if str(place) in line]
    try:
        everything = orphans.containers(connect())
    except EngineUnreachableError:
        return found
    return found + [each.what for each in everything if str(project.root) in each.about]


def is_harmless(path: Path) -> bool:
    """Tell whether it is the place of port locks, or of a run that had not come to a server.

    Before there is anything to be removed, there is no reaper; the next run removes the directory.
    """
    started = (path / "reaper.log").exists()
    return "ports" in path.name or (not started and heartbeat.has_ended(path / OWNER))
