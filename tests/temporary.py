"""Directories for servers that this suite starts itself; a later suite removes a killed one's."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

import shared_segments
from pytest_berth.run import process_identity
from pytest_berth.sources import owned_directories
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "berth-suite-"
_OWNER = "suite.json"


@contextmanager
def home() -> Iterator[Path]:
    """Yield a directory that is removed at the end, or by a later suite if this one is killed.

    It is not in pytest's temporary directory, which a server of another user could not enter.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = process_identity.read(left / _OWNER)
        # Given to the user that the server runs as; the record is this user's.
        is_ours = owned_directories.is_ours(left, _PREFIX, owner=left.stat().st_uid)
        if is_ours and owner and owner.is_gone():
            _end_servers(left)
            shutil.rmtree(left, ignore_errors=True)  # another suite may be at it, too
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    owned_directories.mark(directory)
    descriptor = process_identity.write(directory / _OWNER, process_identity.this_process())
    try:
        yield directory
    finally:
        os.close(descriptor)
        _end_servers(directory)
        # Reapers and helpers of runs may be at it, too.
        wait_for(lambda: _is_removed(directory), 60, message=f"removal of {directory}")


@contextmanager
def open_home() -> Iterator[Path]:
    """Yield an empty directory in such a one, which servers of an unprivileged user can enter."""
    with home() as directory:
        directory.chmod(0o755)
        place = directory / "tmp"
        place.mkdir(mode=0o755)
        place.chmod(0o755)
        yield place


def _is_removed(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def _end_servers(directory: Path) -> None:
    directory = directory.resolve()
    for each in psutil.process_iter(["cwd"]):
        working = Path(each.info["cwd"] or "/")
        if directory in (working, *working.parents):
            with suppress(psutil.NoSuchProcess):
                each.kill()
                each.wait(60)
    shared_segments.release(directory)
