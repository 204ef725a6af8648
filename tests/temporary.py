"""Directories for servers that this suite starts itself; a later suite removes a killed one's."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from pytest_berth.run import process_identity
from pytest_berth.sources import owned_directories

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
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        owned_directories.mark(Path(name))
        descriptor = process_identity.write(Path(name, _OWNER), process_identity.this_process())
        try:
            yield Path(name)
        finally:
            os.close(descriptor)


def _end_servers(directory: Path) -> None:
    for each in psutil.process_iter(["cwd"]):
        working = Path(each.info["cwd"] or "/")
        if directory in (working, *working.parents):
            with suppress(psutil.NoSuchProcess):
                each.kill()
