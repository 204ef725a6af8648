"""Locks on files: let go also where a test replaces functions, and waited for with a deadline."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_berth.errors import RunEndedError, TimedOutError
from pytest_berth.file_locks import HeldLock, LockHeldError, SharedNumber, locked
from pytest_berth.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there, filelock does it all")


def _refuse(*args: object, **named: object) -> None:
    raise RuntimeError("replaced by a test")


def test_a_lock_is_let_go_where_a_test_replaces_what_opens_and_closes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    for place, name in ((os, "open"), (os, "close"), (fcntl, "flock"), (time, "sleep")):
        monkeypatch.setattr(place, name, _refuse)
    with locked(tmp_path / "a.lock"):
        with pytest.raises(LockHeldError), locked(tmp_path / "a.lock", blocking=False):
            pass
        with pytest.raises(TimedOutError), locked(tmp_path / "a.lock", within=0.01):
            pass
    with locked(tmp_path / "a.lock", blocking=False):
        pass
    HeldLock(tmp_path / "a.lock").release()
    HeldLock(tmp_path / "a.lock")  # let go as nobody has it
    HeldLock(tmp_path / "a.lock").release()


def test_a_lock_that_is_held_too_long_is_told_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    name = threading.current_thread().name
    with (
        locked(path),
        pytest.raises(TimedOutError, match=f"held by process {os.getpid()}, {name}"),
        locked(path, within=0.01),
    ):
        pass


def test_a_held_lock_can_be_let_go_before(tmp_path: Path) -> None:
    held = HeldLock(tmp_path / "a.lock")
    held.release()
    HeldLock(tmp_path / "a.lock").release()
    held.release()


def test_a_process_that_a_test_forks_does_not_hold_a_lock(tmp_path: Path) -> None:
    told, tell = os.pipe()
    with locked(tmp_path / "a.lock"):
        child = os.fork()
        if not child:
            os.read(told, 1)  # until the other one has looked
            os._exit(0)
    with locked(tmp_path / "a.lock", blocking=False):
        os.write(tell, b".")
    os.waitpid(child, 0)
    os.close(told)
    os.close(tell)


def test_where_the_directory_is_gone_the_run_has_ended(tmp_path: Path) -> None:
    with pytest.raises(RunEndedError), locked(tmp_path / "gone" / "a.lock"):
        pass
    assert not (tmp_path / "gone").exists()


def test_where_the_directory_goes_while_a_lock_is_waited_for_the_run_has_ended(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run" / "a.lock"
    path.parent.mkdir()
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            with locked(path):
                pass
        except RunEndedError as error:
            outcome.append(error)

    with locked(path):
        opened = _descriptors()
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_for(lambda: _descriptors() > opened, 60)
        # At once, as the file could be made anew otherwise.
        gone = path.parent.rename(tmp_path / "gone")
        (gone / path.name).unlink()
        gone.rmdir()
    waiting.join()
    assert len(outcome) == 1


def _descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_a_number_is_added_to_while_nobody_reads_it(tmp_path: Path) -> None:
    number, other = SharedNumber(tmp_path / "number"), SharedNumber(tmp_path / "number")
    with number.read() as first, other.read() as second:
        assert (first, second) == (0, 0)
    with number.add(2), other.read() as unknown:
        assert unknown is None
    with number.read(), other.add(5):
        pass  # not had: it stays what it was
    with other.read() as last:
        assert last == 2


def test_a_lock_is_held_as_long_as_its_object_lives(tmp_path: Path) -> None:
    held = HeldLock(tmp_path / "a.lock")
    with pytest.raises(LockHeldError):
        HeldLock(tmp_path / "a.lock")
    del held
    HeldLock(tmp_path / "a.lock")


def test_a_process_that_a_test_forks_does_not_let_go_what_another_one_holds(tmp_path: Path) -> None:
    held = HeldLock(tmp_path / "a.lock")
    child = os.fork()
    if not child:
        del held
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(LockHeldError):
        HeldLock(tmp_path / "a.lock")
    assert held
