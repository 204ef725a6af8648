"""System V shared memory: what a killed Postgres leaves of it stays until somebody removes it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_SEGMENTS = Path("/proc/sysvipc/shm")
_KEY, _ID, _CREATOR = 0, 1, 4
_IPC_RMID = 0


def release(directory: Path) -> None:
    """Remove the segments of the servers whose data is in a directory; they have been killed.

    One that ends by itself removes its segment, and its ``postmaster.pid``, where key and id stand.
    Linux tells which process has made a segment; without that proof none is removed.

    Args:
        directory: A local server's directory.
    """
    import ctypes

    for path in directory.glob("*/postmaster.pid"):
        # It may end by itself at this moment, or have been killed before it had a segment.
        with suppress(OSError, IndexError):
            lines = path.read_text().splitlines()
            pid, (key, number) = lines[0], lines[6].split()
            made = [line.split() for line in _SEGMENTS.read_text().splitlines()]
            if any((each[_KEY], each[_ID], each[_CREATOR]) == (key, number, pid) for each in made):
                ctypes.CDLL(None, use_errno=True).shmctl(int(number), _IPC_RMID, None)
