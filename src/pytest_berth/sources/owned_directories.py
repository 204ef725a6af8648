"""Directories that berth has made: each holds a record that names it, and none without is removed.

A name alone proves nothing, as anybody may choose it. A record that was copied elsewhere proves
nothing either: it names another directory.

Standard library only: the reaper imports it in isolation.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.debug_log import ignoring

if TYPE_CHECKING:
    from collections.abc import Collection

RECORD = "berth-made-this.json"


def make(prefix: str, place: Path | None = None) -> Path:
    """Make a directory for this user only, with the record; nothing stays where that fails.

    Args:
        prefix: What its name begins with.
        place: Where it will be; the temporary directory when left out.
    """
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    try:
        mark(directory)
    except BaseException:  # the disk is full, or Ctrl-C
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def mark(directory: Path, name: str = "") -> None:
    """Leave the record in a directory that berth has just made.

    Args:
        directory: The directory.
        name: What it will be called, if not as now; it may have a suffix until then.
    """
    path = directory / RECORD
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump({"directory": name or directory.name}, stream)


def is_ours(
    directory: Path, prefix: str, places: Collection[Path] = (), owner: int | None = None
) -> bool:
    """Tell whether berth has provably made a directory, for this user.

    Args:
        directory: The directory.
        prefix: What its name has to begin with.
        places: Where it has to be; the temporary directory when left out.
        owner: Another user that it may have been given to.
    """
    try:
        real, parent = directory.lstat(), directory.absolute().parent.resolve()
    except OSError:
        return False
    where = {each.resolve() for each in places or [Path(tempfile.gettempdir())]}
    if not stat.S_ISDIR(real.st_mode) or parent not in where:
        return False
    owners = {_user(), owner} if _user() is not None else {real.st_uid}
    return (
        real.st_uid in owners
        and directory.name.startswith(prefix)
        and _recorded(directory) in {directory.name, directory.stem}
    )


def is_empty(directory: Path) -> bool:
    """Tell whether nothing but the record is in a directory; one that is gone is not empty."""
    try:
        return not _beside_record(directory)
    except OSError:
        return False


def remove(directory: Path) -> None:
    """Remove a directory that is ours, as far as possible: its record, the proof, last.

    What others write there meanwhile, such as a heartbeat, goes as well.
    """
    failed: set[str] = set()
    with ignoring(OSError, why=f"{directory} is gone"):
        while entries := [each for each in _beside_record(directory) if each.name not in failed]:
            failed.update(entry.name for entry in entries if not _remove_entry(entry))
        if not failed:
            shutil.rmtree(directory, ignore_errors=True)


def _remove_entry(entry: os.DirEntry[str]) -> bool:
    """Return whether it is gone."""
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        with ignoring(OSError, why="it is gone, or stays"):
            Path(entry.path).unlink()
    return not os.path.lexists(entry.path)


def _beside_record(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return [each for each in entries if each.name != RECORD]


def _recorded(directory: Path) -> str:
    path = directory / RECORD
    try:
        found = path.lstat()
        mine = _user() is None or found.st_uid == _user()
        if not (mine and stat.S_ISREG(found.st_mode)):
            return ""
        return str(json.loads(path.read_text())["directory"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _user() -> int | None:
    return os.geteuid() if hasattr(os, "geteuid") else None
