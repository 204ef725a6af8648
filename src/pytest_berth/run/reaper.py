"""A small process that outlives pytest for a moment and removes what a killed run has left.

It is started with a run's first server, in a session of its own: it does not die with the
terminal. While the run lives it only waits, with the standard library alone. When the run's owner
is gone and the run's directory is still there, it has `pytest_berth.cli` sweep the rest. Now and
then it touches a file, which tells other containers and machines that the run lives, and looks
whether the run's servers stand still.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.debug_log import ignoring
from pytest_berth.run import hand_over, heartbeat, registry, suspended_servers
from pytest_berth.run.process_identity import (
    Process,
    is_held,
    is_own_directory,
    read,
    this_process,
    write,
)
from pytest_berth.run.registry import Registry
from pytest_berth.sources import owned_directories

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LOOK_EVERY = 1.0
_LOOK_OFTEN = 0.1
_TRIED_OFTEN = 3
_TRY_AGAIN_AFTER = 3600.0
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from pytest_berth.run import reaper
reaper.main(sys.argv[2])
"""


def start(directory: Path) -> None:
    """Start the reaper of a run, detached from this process and its terminal."""
    packages = str(Path(__file__).parents[2])
    # Without site-packages it starts in a few milliseconds.
    command = [sys.executable, "-S", "-E", "-c", _PROGRAM, packages, str(directory)]
    detach(command, Registry(directory).reaper_log)


def detach(command: Sequence[str], log: Path) -> None:
    """Start a process that outlives this one and its terminal; what it says goes to a log."""
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            cwd=os.sep,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    # This process will not wait for it.
    process.returncode = 0


def main(path: str) -> None:
    """Sweep up behind dead runs, then wait for the end of this one.

    Args:
        path: The run's directory.
    """
    directory = Path(path)
    tempfile.tempdir = str(directory.parent)
    heartbeat.beat(directory)
    orphaned = list(_orphaned(directory.parent))
    if orphaned:
        # Not waited for: a server of theirs that does not answer must not keep this run unguarded.
        subprocess.Popen(_command(*orphaned), stdin=subprocess.DEVNULL, env=_environment(directory))
    for unfinished in _unfinished(directory.parent):
        owned_directories.remove(unfinished)
    for place in _unguarded(directory.parent):
        _guard(place)
    owner = read(Registry(directory).owner)
    if owner:
        _register(directory)
        _wait(owner, directory)
    if owner and directory.exists() and not _completes(directory):
        subprocess.run(
            _command(directory),
            stdin=subprocess.DEVNULL,
            env=_environment(directory),
            check=False,
        )


def _register(directory: Path) -> None:
    """Tell the run's owner that its reaper lives."""
    with ignoring(OSError, why="the run has ended"):
        write(Registry(directory).reaper, this_process())


def _orphaned(place: Path) -> Iterator[Path]:
    """Yield the directories of this user's runs whose owners have provably ended."""
    for directory in registry.directories(place):
        has_ended = heartbeat.has_ended(Registry(directory).owner)
        if registry.is_directory(directory) and has_ended and _may_try(directory):
            yield directory


def _unfinished(place: Path) -> Iterator[Path]:
    """Yield the directories of this user's runs that were killed as they made these."""
    return filter(heartbeat.was_never_owned, registry.without_owner(place))


def _may_try(directory: Path) -> bool:
    """Tell whether it is long ago that not all could be removed, or that was seldom tried yet."""
    try:
        put_off = Registry(directory).put_off
        if len(put_off.read_bytes().splitlines()) < _TRIED_OFTEN:
            return True
        age = time.time() - put_off.stat().st_mtime
    except OSError:
        return True
    # A clock that was set back must not put it off for longer.
    return not 0 <= age < _TRY_AGAIN_AFTER


def _unguarded(place: Path) -> Iterator[Path]:
    """Yield the directory of this user's kept servers if nobody waits for the end of their time."""
    for directory in registry.reuse_directories(place):
        of_user = registry.ReuseRegistry(directory)
        if is_own_directory(directory) and of_user.names():
            lock = of_user.reaper_lock
            if not (lock.exists() and is_held(lock)):
                yield directory


def _guard(place: Path) -> None:
    command = [sys.executable, "-m", "pytest_berth.run.reuse.reuse_reaper", str(place)]
    detach(command, registry.ReuseRegistry(place).reaper_log)


def _wait(owner: Process, directory: Path) -> None:
    """Return when the owner has ended, or when the run ended well: its directory is gone."""
    try:
        descriptor = os.pidfd_open(owner.pid)
    except (AttributeError, OSError):
        descriptor = None
    beaten = time.monotonic()
    watch = suspended_servers.Watch(directory)
    handed_over, is_tried = Registry(directory).handed_over, False
    while directory.exists() and not owner.is_gone():
        # The owner's process may live on: one that runs pytest again and again.
        if handed_over.exists() and not is_tried:
            is_tried = True
            _completes(directory)
        if time.monotonic() - beaten > heartbeat.EVERY:
            heartbeat.beat(directory)
            beaten = time.monotonic()
        watch.look()
        if descriptor is None:
            time.sleep(_LOOK_OFTEN)  # nothing to wait for: Linux before 5.3, macOS, Windows
        else:
            select.select([descriptor], [], [], _LOOK_EVERY)


def _completes(directory: Path) -> bool:
    """Remove what the run has left to its reaper; return whether that was all of it."""
    is_complete = Registry(directory).handed_over.exists() and hand_over.complete(directory)
    if is_complete:
        owned_directories.remove(directory)
    return is_complete


def _environment(directory: Path) -> dict[str, str]:
    """Return an environment whose temporary directory is the one of a run's owner."""
    return {**os.environ, "TMPDIR": str(directory.parent)}


def _command(*directories: Path) -> list[str]:
    return [sys.executable, "-m", "pytest_berth.cli", "sweep", *map(str, directories)]
