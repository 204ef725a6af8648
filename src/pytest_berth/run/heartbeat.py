"""Whether a run lives, also one of another container or machine that shares our directory.

A pid says something in its own pid namespace only. Elsewhere two things say that a run lives: its
processes hold locks on what they have written down of themselves, and its reaper touches a file.
A run is dead when the locks are free and the file has been left alone for long: for a minute under
our own kernel, where the locks are proof enough on every common file system, and for an hour on
another machine, where a lock may not be seen.

Standard library only, and little of this package: the reaper imports it in isolation.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from pytest_berth.debug_log import ignoring
from pytest_berth.run import process_identity
from pytest_berth.run.registry import Registry
from pytest_berth.sources import owned_directories

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_berth.run.process_identity import Process

EVERY = 5.0
_SAME_KERNEL = 60.0
_OTHER_MACHINE = 3600.0


def beat(directory: Path) -> None:
    """Say that the run lives; nothing where it has ended, and its directory goes or is gone."""
    registry = Registry(directory)
    with ignoring(OSError, why="the run has ended"):
        if registry.owner.exists():
            registry.heartbeat.touch()


def has_ended(path: Path) -> bool:
    """Tell whether the process has provably ended that has written down itself in a file.

    Args:
        path: The file, in the directory of its run.
    """
    noted = process_identity.read(path)
    if noted is None:
        return False
    if noted.is_here:
        return noted.is_gone()
    return not process_identity.is_held(path) and _silent_for(path.parent) > _patience(noted)


def was_never_owned(directory: Path) -> bool:
    """Tell whether a directory is old enough that its run was killed as it made it.

    Args:
        directory: One of `registry.without_owner`.
    """
    return _age(directory / owned_directories.RECORD) > _OTHER_MACHINE


def _patience(noted: Process) -> float:
    return _SAME_KERNEL if noted.shares_kernel else _OTHER_MACHINE


def _silent_for(directory: Path) -> float:
    """Return for how many seconds nobody has touched the file; 0 where nobody ever has.

    Without a reaper there is no server, and nothing worth the risk of taking a run for dead.
    """
    return _age(Registry(directory).heartbeat)


def _age(path: Path) -> float:
    """Return for how many seconds a file of a run's directory is as it is; 0 where it is gone."""
    try:
        last = path.stat().st_mtime
        # The clock that stamps files of a shared file system may not be ours.
        with tempfile.TemporaryFile(dir=path.parents[1]) as probe:
            return os.fstat(probe.fileno()).st_mtime - last
    except OSError:
        return 0.0
