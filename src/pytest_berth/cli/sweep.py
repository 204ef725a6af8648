"""``pytest-berth sweep``: removes what a killed run has left; the reaper of each run calls it."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.cli import leftovers
from pytest_berth.cli.lines import Lines
from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import RunEndedError
from pytest_berth.file_locks import LockHeldError
from pytest_berth.run import heartbeat, run
from pytest_berth.run.once_per_run import lock
from pytest_berth.run.registry import Registry, is_directory

if TYPE_CHECKING:
    import argparse

_TRIED_FOR = 7 * 24 * 3600.0


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "sweep",
        help="remove what a killed run has left, by its directory; prune is for people",
        description="Remove what killed runs have left, by their directories, without a question:"
        " the reaper that each run has calls it. What is kept of failed tests, and servers that are"
        " kept for later runs, stay. By hand, `pytest-berth prune` does this and more.",
    )
    command.add_argument("directories", type=Path, nargs="+", help="the runs' directories")
    command.set_defaults(run=_sweep)


def sweep(directory: Path) -> bool:
    """Remove everything that a run has left whose owner has provably ended.

    What cannot be removed is tried again by later runs, after a few times once an hour, for
    `_TRIED_FOR`: a server of somebody else's may be gone for good.

    Args:
        directory: The run's directory.

    Returns:
        Whether it is a run's directory, and the run has ended; else nothing is done.
    """
    refused = _refusal(directory)
    if refused:
        Lines().note(f"{directory}: nothing was removed: {refused}")
        return False
    is_swept = "another process sweeps it up, or has done so"
    try:
        with (
            ignoring(LockHeldError, RunEndedError, why=f"{directory}: {is_swept}"),
            lock(directory, "sweep", blocking=False),
        ):
            leftovers.manager(directory).sweep()
    except Exception as error:  # whatever a driver raises
        _put_off(directory, error)
    return True


def _sweep(given: argparse.Namespace) -> None:
    swept = [sweep(directory) for directory in given.directories]
    if not all(swept):
        sys.exit(1)


def _refusal(directory: Path) -> str:
    """Tell why a directory may not be swept; nothing where it may, or is gone."""
    if not directory.exists():
        return ""
    if not is_directory(directory):
        return f"it is not the directory of a run of this user's in {tempfile.gettempdir()}"
    if not heartbeat.has_ended(Registry(directory).owner):
        return "its run is alive, or nothing proves that it has ended: `pytest-berth ps` shows it"
    return ""


def _put_off(directory: Path, problem: Exception) -> None:
    """Leave a run's directory to later runs, unless it is too old, or gone meanwhile."""
    try:
        began = Registry(directory).owner.stat().st_mtime
        with Registry(directory).put_off.open("a") as failures:
            failures.write(f"{problem!r}\n")
    except FileNotFoundError as error:
        debug("%s: another process has removed it: %s", directory, error)
        return
    Lines().note(f"{directory}: not all could be removed: {problem}")
    if time.time() - began > _TRIED_FOR:
        run.resume(directory).remove()
