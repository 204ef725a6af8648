"""Work that is done once per run, by the first process that asks for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_berth import errors
from pytest_berth.errors import BerthError
from pytest_berth.file_locks import locked
from pytest_berth.run.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path


def once(directory: Path, name: str, work: Callable[[], None]) -> None:
    """Do the work if no process of the run has done it; wait while another one does it.

    A `BerthError` is remembered, and raised again in every process that comes later. Work whose
    process died is begun anew.

    Args:
        directory: The run's directory.
        name: What the work is called; lock and result are files of that name.
        work: Called until it has succeeded or failed once.
    """
    with lock(directory, name):
        result = Registry(directory).done(name)
        if result.exists():
            raise_remembered(result)
            return
        try:
            work()
        except BerthError as error:
            remember(result, error)
            raise
        result.touch()


def lock(directory: Path, name: str, *, blocking: bool = True) -> AbstractContextManager[None]:
    """Return the lock that one process of the run at a time holds, for work of a name.

    Entering it raises:
        RunEndedError: The run's directory is gone.
        TimedOutError: Another process has held it for an hour.
        LockHeldError: Another process holds it, and *blocking* is false.
    """
    return locked(Registry(directory).lock(name), blocking=blocking)


def remember(path: Path, error: BerthError) -> None:
    """Write an error to a file, for the other processes of the run."""
    path.write_text(json.dumps([type(error).__name__, error.what, error.why, error.remedy]))


def raise_remembered(path: Path) -> None:
    """Raise the error that a file holds, if the file exists."""
    kept = path.read_text() if path.exists() else ""
    if kept:
        name, what, why, remedy = json.loads(kept)
        kind = getattr(errors, name, BerthError)
        error = BerthError.__new__(kind)
        BerthError.__init__(error, what, why=why, remedy=remedy)
        raise error
