"""Where local servers have their files: in memory where there is plenty, else on the disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pytest_berth.errors import StartError

MEMORY = Path("/dev/shm")
_NAMES = ("TMPDIR", "TEMP", "TMP")
_PLENTY = 1 << 30


def choose() -> Path:
    """Return the parent of a server's directory: the temporary one if the user has set it."""
    named = any(map(os.environ.get, _NAMES))
    return MEMORY if not named and _is_plenty() else Path(tempfile.gettempdir())


def everywhere() -> tuple[Path, ...]:
    """Return all possible parents of servers' directories, which need not exist."""
    return Path(tempfile.gettempdir()), MEMORY


def unusable(place: Path, why: str) -> StartError:
    """Return the error for a directory that cannot be written, naming who has chosen it."""
    named = next((f"{name} = {os.environ[name]}" for name in _NAMES if os.environ.get(name)), "")
    return StartError(
        f"the files of a local server cannot be written to {place}.",
        why=f"{why}\n{place} was taken: {named or 'no TMPDIR is set'}",
        remedy=f"make room there (df -h {place}), or name another place: TMPDIR=<directory>",
    )


def _is_plenty() -> bool:
    """Tell whether a gigabyte fits, and the machine has another one left."""
    import psutil

    if not os.access(MEMORY, os.W_OK | os.X_OK):
        return False
    found = os.statvfs(MEMORY)
    room = found.f_bavail * found.f_frsize
    return room >= _PLENTY and psutil.virtual_memory().available >= 2 * _PLENTY
