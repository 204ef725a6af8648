"""The end of a server: everything that it had is gone, whatever has happened to it before."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest

import shared_segments
from marks import nightly
from pytest_berth.sources import local, os_account
from pytest_berth.sources.container import ContainerSource
from pytest_berth.sources.os_account import is_root
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import Berthed, Stage


def test_stopping_a_server_leaves_nothing_of_it(starting: str, stage: Stage) -> None:
    berthed = stage.start(starting)
    with psycopg.connect(berthed.dsn):
        remains = _remains(berthed)
        assert all(remains().values())
        berthed.manager.stop()
        assert not any(remains().values())
    assert not berthed.manager.run.directory.exists()
    assert not _answers(berthed)


def test_stopping_an_external_server_leaves_it_alone(
    berthed_by_source: Callable[[str], Berthed], stage: Stage
) -> None:
    url = berthed_by_source("external").url
    berthed = stage.start("external", berth_pg_url=url)
    berthed.manager.stop()
    assert berthed.query("SELECT 1") == 1


def test_a_server_that_is_held_is_lost_and_goes_like_any_other(starting: str, stage: Stage) -> None:
    berthed = stage.start(starting)
    remains = _remains(berthed)
    if starting == "local":
        psutil.Process(berthed.server.handle["pid"]).suspend()
        told = f"the process {berthed.server.handle['pid']} is stopped (SIGSTOP)"
    else:
        berthed.container().pause()
        told = "the container is paused"
    assert wait_for(lambda: berthed.source.exit_status(berthed.server), 30) == told
    berthed.manager.stop()
    assert not any(remains().values())


@pytest.mark.parametrize("starting", ["local", *nightly("container")], indirect=True)
def test_what_cannot_be_stopped_is_not_forgotten(
    starting: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    berthed = stage.start(starting)
    remains, directory = _remains(berthed), berthed.manager.run.directory

    def refused(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(type(berthed.source), "stop", refused)
        berthed.manager.stop()
    assert any("could not be cleaned up; " in line for line in berthed.notes)
    assert "MemoryError" in berthed.notes[-1]
    assert directory.exists(), "the reaper knows by it what is left"

    berthed.manager.sweep()
    assert not any(remains().values())
    assert not directory.exists()


def test_a_server_may_be_stopped_twice(starting: str, stage: Stage) -> None:
    berthed = stage.start(starting)
    berthed.source.stop(berthed.server)
    berthed.source.stop(berthed.server)
    berthed.manager.stop()
    assert not any(_remains(berthed)().values())


@pytest.mark.parametrize("starting", ["container", *nightly("local")], indirect=True)
def test_a_server_may_be_stopped_from_two_sides_at_once(starting: str, stage: Stage) -> None:
    berthed = stage.start(starting)
    problems: list[BaseException] = []

    def stop() -> None:
        try:
            berthed.source.stop(berthed.server)
        except BaseException as error:
            problems.append(error)
            raise

    threads = [threading.Thread(target=stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    assert not any(_remains(berthed)().values())


def test_a_server_may_be_gone_before_it_is_stopped(starting: str, stage: Stage) -> None:
    berthed = stage.start(starting)
    remains = _remains(berthed)
    _kill(berthed)
    assert berthed.source.exit_status(berthed.server)
    berthed.manager.stop()
    assert not any(remains().values())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists it")
@pytest.mark.parametrize("kind", ["mmap", "posix"])
def test_a_killed_local_server_leaves_no_shared_memory(
    stage: Stage, require_source: Callable[[str], None], kind: str
) -> None:
    require_source("local")
    chosen = [] if kind == "mmap" else ["dynamic_shared_memory_type=posix"]
    berthed = stage.start("local", berth_pg_settings=chosen)
    assert berthed.query("SHOW dynamic_shared_memory_type") == kind, "mmap is below its data"
    segments = shared_segments.noted(Path(berthed.server.handle["directory"]))
    mapped = _mapped(berthed.server.handle["pid"])
    assert bool(mapped) == (kind == "posix")
    _kill(berthed)
    assert shared_segments.left(segments)
    assert all(path.exists() for path in mapped)
    berthed.manager.stop()
    assert not shared_segments.left(segments)
    assert not any(path.exists() for path in mapped)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists it")
def test_neither_does_what_is_killed_while_it_makes_the_data(
    stage: Stage, require_source: Callable[[str], None], tmp_path: Path
) -> None:
    require_source("local")
    berthed = stage.start("local")
    directory = Path(berthed.server.handle["directory"])
    program = psutil.Process(berthed.server.handle["pid"]).exe()
    berthed.source.kill(berthed.server)
    first = shared_segments.noted(directory)
    data = str(directory / berthed.server.handle["data"])
    # As initdb does, which chooses memory of this kind, and notes the process otherwise.
    options = ["-c", "dynamic_shared_memory_type=posix", "-c", "exit_on_error=true"]
    single = subprocess.Popen(
        [program, "--single", "-D", data, *options, "template1"],
        cwd=data,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **os_account.identity(),
    )
    segments = wait_for(
        lambda: _mapped(single.pid) and shared_segments.noted(directory) - first, 60
    )
    mapped = _mapped(single.pid)
    single.kill()
    single.communicate()
    assert shared_segments.left(segments)
    assert mapped
    berthed.manager.stop()
    assert not shared_segments.left({*first, *segments})
    assert not any(path.exists() for path in mapped)


def _mapped(pid: int) -> set[Path]:
    """Return the shared objects that a process has opened."""
    paths = (Path(each.path) for each in psutil.Process(pid).memory_maps(grouped=False))
    return {path for path in paths if path.name.startswith("PostgreSQL.")}


def test_a_server_may_be_removed_before_it_is_stopped(starting: str, stage: Stage) -> None:
    berthed = stage.start(starting)
    remains = _remains(berthed)
    if berthed.server.source == "container":
        berthed.container().remove(force=True, v=True)
    else:
        _kill(berthed)
        shared_segments.release(Path(berthed.server.handle["directory"]))
        shutil.rmtree(berthed.server.handle["directory"])
    assert berthed.source.exit_status(berthed.server)
    assert berthed.source.log(berthed.server, 0)
    assert berthed.source.log(berthed.server, berthed.source.log_position(berthed.server))
    berthed.manager.stop()
    assert not any(remains().values())


def test_a_frozen_server_is_stopped_all_the_same(
    stage: Stage, require_source: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_source("local")
    monkeypatch.setattr("pytest_berth.sources.local._STOP_WITHIN", 0.5)
    berthed = stage.start("local")
    remains = _remains(berthed)
    os.kill(berthed.server.handle["pid"], signal.SIGSTOP)
    # Until it stands still it is asked what a snapshot of it would hold, and then does not answer.
    wait_for(lambda: berthed.source.exit_status(berthed.server), 60)
    berthed.manager.stop()
    assert not any(remains().values())


def test_the_pid_of_a_server_is_not_trusted_when_another_process_has_it(
    stage: Stage, require_source: Callable[[str], None], tmp_path: Path
) -> None:
    require_source("local")
    berthed = stage.start("local")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        # The time at which it was started tells it from the server.
        place = {"pid": other.pid, "directory": str(tmp_path / "of another server")}
        handle = {**berthed.server.handle, **place}
        berthed.source.stop(dataclasses.replace(berthed.server, handle=handle))
        assert other.poll() is None
        other.kill()


def test_a_process_whose_parent_never_asks_for_its_end_has_ended_all_the_same() -> None:
    parent = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as asked_for_nothing:
        assert asked_for_nothing.stdout
        process = psutil.Process(int(asked_for_nothing.stdout.readline()))
        local._end(process, "SIGTERM")
        assert process.status() == psutil.STATUS_ZOMBIE
        assert local._left_after_waiting([process]) == []
        asked_for_nothing.kill()


@pytest.mark.skipif(not is_root(), reason="only root's servers run as another user")
def test_processes_of_a_server_run_as_an_unprivileged_user(
    stage: Stage, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    berthed = stage.start("local")
    process = psutil.Process(berthed.server.handle["pid"])
    users = {each.uids().effective for each in (process, *process.children(recursive=True))}
    assert users
    assert 0 not in users


def test_the_data_of_a_process_is_nobody_elses(
    stage: Stage, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    berthed = stage.start("local")
    directory = Path(berthed.server.handle["directory"])
    data = Path(berthed.query("SHOW data_directory"))
    assert directory in data.parents
    for path in (directory, data):
        assert path.stat().st_mode & 0o777 == 0o700
    assert (directory / "password").stat().st_mode & 0o777 == 0o600


def _remains(berthed: Berthed) -> Callable[[], dict[str, bool]]:
    """Return a function that tells what is still there of the server."""
    handle = berthed.server.handle
    if berthed.server.source == "local":
        processes: list[Any] = []
        if psutil.pid_exists(handle["pid"]):
            process = psutil.Process(handle["pid"])
            processes = [process, *process.children(recursive=True)]
        return lambda: {
            "processes": any(map(_is_alive, processes)),
            "directory": Path(handle["directory"]).exists(),
        }
    assert isinstance(berthed.source, ContainerSource)
    client = berthed.source.engine.client.client
    found = client.containers.list(all=True, filters={"id": handle["container"]})
    mounts = [mount for each in found for mount in each.attrs["Mounts"]]
    volumes = {mount["Name"] for mount in mounts if mount["Type"] == "volume"}

    def remains() -> dict[str, bool]:
        containers = client.containers.list(all=True, filters={"id": handle["container"]})
        present = {volume.name for volume in client.volumes.list()}
        return {"container": bool(containers), "volumes": bool(volumes & present)}

    return remains


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _kill(berthed: Berthed) -> None:
    if berthed.server.source == "container":
        berthed.container().kill()
        berthed.container().wait()
        return
    process = psutil.Process(berthed.server.handle["pid"])
    family = [process, *process.children(recursive=True)]
    process.kill()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def _answers(berthed: Berthed) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((berthed.server.host, berthed.server.port)) == 0
