"""What the reaper has swept up behind a run that is dead."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_berth.api import Credentials, Server
from pytest_berth.cli import commands, leftovers
from pytest_berth.run import process_identity
from pytest_berth.run.process_identity import Process
from pytest_berth.run.registry import OWNER, Registry
from pytest_berth.run.run import Run
from pytest_berth.sources import data_directories, owned_directories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.run.server_manager import Manager

ACCOUNT = Credentials("berth", "secret", "berth")
EIGHT_DAYS = 8 * 24 * 3600


def ended(run: Run) -> Run:
    """Return a run whose owner has ended."""
    owner = run.directory / OWNER
    owner.write_text(json.dumps(Process(2**22 + 1, "never", process_identity.machine())))
    return run


@pytest.fixture
def run() -> Iterator[Run]:
    """A run that has used a server of somebody else's, which is gone, and one of its own."""
    made = ended(Run("0123abcd", "main"))
    registry = Registry(made.directory)
    gone = Server("postgres", "external", "127.0.0.1", 1, ACCOUNT)
    registry.note_planned(gone)
    registry.note_launched(gone)
    registry.note_ready(gone)
    yield made
    made.remove()


def test_a_server_that_is_gone_does_not_keep_the_others_from_being_removed(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = {"pid": psutil.Process().pid, "created": 0.0, "signal": "SIGKILL"}
    with tempfile.TemporaryDirectory() as place:
        monkeypatch.setattr(data_directories, "everywhere", lambda: [Path(place)])
        data = Path(place, "berth-server-0123abcd-redis.data")
        data.mkdir()
        owned_directories.mark(data)
        own = Server(
            "redis", "local", "127.0.0.1", 2, ACCOUNT, handle={**ended, "directory": str(data)}
        )
        run.registry.note_planned(own)
        run.registry.note_launched(own)

        commands.main(["sweep", str(run.directory)])

        assert not data.exists()
    assert run.registry.put_off.exists(), "a later run tries again"
    assert f"{run.directory}: not all could be removed: " in capsys.readouterr().err


def test_after_a_week_nobody_tries_to_reach_it_any_more(run: Run) -> None:
    owner = run.directory / OWNER
    week_ago = owner.stat().st_mtime - EIGHT_DAYS
    os.utime(owner, (week_ago, week_ago))

    commands.main(["sweep", str(run.directory)])

    assert not run.directory.exists()


def test_a_directory_that_another_process_removes_meanwhile_does_not_end_the_sweep_of_others(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    later, manager_of = ended(Run("4567cdef", "main")), leftovers.manager

    def manager(directory: Path) -> Manager:
        if directory == run.directory:
            shutil.rmtree(directory)
        return manager_of(directory)

    monkeypatch.setattr(leftovers, "manager", manager)

    commands.main(["sweep", str(run.directory), str(later.directory)])

    assert not later.directory.exists()
    assert capsys.readouterr().err == "", "what is gone is done"
    later.remove()
