"""Servers that cannot start: the error says why, and nothing of them stays."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import socket
import subprocess
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import psutil
import pytest

import shared_segments
from marks import nightly
from pytest_berth.errors import BerthError, NoSourceError, StartError
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.sources import shared_memory
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contracts.conftest import Stage

    from pytest_berth.run.server_manager import Manager


def test_a_server_that_ends_while_it_starts_is_an_error_with_its_log(
    starting: str, stage: Stage
) -> None:
    manager = stage.manager(starting, berth_pg_settings=["work_memory = 64MB"])
    error = _failure(manager, StartError)
    assert error.what.startswith("postgres ended while it started: the ")
    assert "it may be a line of berth_pg_settings = work_memory = 64MB" in error.remedy
    assert 'unrecognized configuration parameter "work_memory"' in error.why
    _stop_and_look(manager)


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary directory, on a file system of its own with few megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m,mode=1777", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    for parent in place.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path(parent.anchor):
            parent.chmod(parent.stat().st_mode | 0o011)
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_full_is_told_as_that(
    stage: Stage, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = stage.manager("local")
    release, had = shared_memory.release, set[str]()

    def note(directory: Path) -> None:
        had.update(shared_segments.noted(directory))
        release(directory)

    monkeypatch.setattr(shared_memory, "release", note)
    error = _failure(manager, StartError)
    assert error.what == f"the files of a local server cannot be written to {small_disk}."
    assert "No space left on device" in error.why or "Check free disk space" in error.why
    assert f"{small_disk} was taken: TMPDIR = {small_disk}" in error.why
    assert not list(small_disk.glob("berth-server-*"))
    assert had
    assert not shared_segments.left(had), "a program that has no space ends without clearing up"


def test_a_server_that_does_not_answer_in_time_is_an_error_with_its_log(
    starting: str, stage: Stage, open_directory: Path
) -> None:
    # It runs, and opens no port: only a socket that nobody asks.
    settings = ["listen_addresses =", f"unix_socket_directories = {open_directory}"]
    if starting == "container":
        settings = settings[:1]
    manager = stage.manager(starting, berth_pg_settings=settings, berth_start_timeout="4")
    error = _failure(manager, StartError)
    assert "did not answer in time" in error.what
    assert "berth_start_timeout = 4 (pytest.ini)" in error.why
    assert "the end of its log:\n" in error.why
    assert "berth_start_timeout = 120" in error.remedy
    _stop_and_look(manager)


@pytest.mark.parametrize("starting", ["local", *nightly("container")], indirect=True)
def test_a_failed_start_is_told_again_without_another_attempt(starting: str, stage: Stage) -> None:
    manager = stage.manager(starting, berth_pg_settings=["work_memory = 64MB"])
    first = _failure(manager, StartError)
    again = _failure(manager, StartError)
    assert str(again) == str(first)
    _stop_and_look(manager)


def test_a_port_that_somebody_has_taken_is_named(starting: str, stage: Stage) -> None:
    manager = stage.manager(starting, berth_start_timeout="30")
    plan = manager.plan(POSTGRES)
    with socket.create_server(("127.0.0.1", plan.port)):
        error = _failure(manager, StartError)
    assert str(plan.port) in str(error)
    assert "already in use" in str(error)
    _stop_and_look(manager)


def test_another_server_on_the_port_is_not_taken_for_ours(starting: str, stage: Stage) -> None:
    other = stage.start(starting)
    manager = stage.manager(starting)
    plan = dataclasses.replace(manager.plan(POSTGRES), port=other.server.port)
    manager.registry.note_planned(plan)
    error = _failure(manager, StartError)
    assert str(plan.port) in str(error)
    assert other.query("SELECT 1") == 1
    _stop_and_look(manager)


def test_an_image_that_ends_at_once_is_an_error_with_its_log(
    stage: Stage, ending_image: str
) -> None:
    manager = stage.manager("container", berth_pg_image=ending_image)
    error = _failure(manager, StartError)
    assert "no licence" in error.why
    _stop_and_look(manager)


def test_an_image_without_postgres_is_an_error(stage: Stage, empty_image: str) -> None:
    manager = stage.manager("container", berth_pg_image=empty_image)
    error = _failure(manager, StartError)
    assert error.what == f"the container of {empty_image} could not be started."
    # With snapshots, a shell is looked for first.
    assert re.search(r'"(postgres|sh)": executable file not found', error.why)
    _stop_and_look(manager)


@pytest.mark.parametrize("version", ["99", "17.99"])
def test_a_version_that_there_is_not_is_an_error(starting: str, stage: Stage, version: str) -> None:
    error = _failure(stage.manager(starting, berth_pg_version=version), NoSourceError)
    assert f"berth_source = {starting}" in error.what
    assert version in error.why
    assert error.remedy


def _failure(manager: Manager, kind: type[BerthError]) -> BerthError:
    with pytest.raises(kind) as caught:
        manager.server(POSTGRES)
    return caught.value


def _stop_and_look(manager: Manager) -> None:
    run = manager.run.id
    manager.stop()
    assert not list(Path(tempfile.gettempdir()).glob(f"berth-*{run}-*"))
    wait_for(lambda: not _processes(run), 30, message="the end of all processes of the run")
    if "engine" in vars(manager.candidates["container"]):
        label = f"org.pytest-berth.run={run}"
        with closing(docker.from_env()) as client:
            assert not client.containers.list(all=True, filters={"label": label})


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Give a directory in which a server of any user can make its socket."""
    with tempfile.TemporaryDirectory(prefix="berth-test-") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


def _processes(run: str) -> list[psutil.Process]:
    every = psutil.process_iter(["cmdline"])
    return [each for each in every if run in " ".join(each.info["cmdline"] or ())]


@pytest.fixture
def ending_image(client: docker.DockerClient) -> Iterator[str]:
    """Give the name of an image whose containers end at once."""
    name = "berth-test-ending:1"
    container = client.containers.create("postgres:17-alpine")
    try:
        command = ["sh", "-c", "echo no licence >&2; exit 3"]
        entry_point = f"ENTRYPOINT {json.dumps(command)}"
        client.api.commit(container.id, *name.split(":"), changes=[entry_point])
        yield name
        client.images.remove(name)
    finally:
        container.remove(v=True)


@pytest.fixture
def empty_image(client: docker.DockerClient) -> Iterator[str]:
    """Give the name of an image with an empty directory and nothing else."""
    name = "berth-test-empty:1"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("etc")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
    client.api.import_image_from_data(buffer.getvalue(), *name.split(":"))
    yield name
    client.images.remove(name)
