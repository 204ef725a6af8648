"""System V shared memory: what a killed Postgres leaves of it stays until somebody removes it."""

from __future__ import annotations

import stat
from pathlib import Path

from pytest_berth.debug_log import ignoring

_SEGMENTS = Path("/proc/sysvipc/shm")
_KEY, _ID, _CREATOR, _ATTACHED, _USER = 0, 1, 4, 6, 7
_IPC_RMID = 0


def release(directory: Path) -> None:
    """Remove the segments of the servers whose data is in a directory; they have been killed.

    One that ends by itself removes its segment, and its ``postmaster.pid``, where key and id stand.
    Linux tells which process has made a segment, whose it is, and who uses it; without that proof
    none is removed.

    Args:
        directory: A local server's directory, which berth has provably made.
    """
    import ctypes

    for path in directory.glob("*/postmaster.pid"):
        # It may end by itself at this moment, or have been killed before it had a segment.
        with ignoring(OSError, IndexError, why=f"{path} tells of no segment"):
            owner = path.lstat()
            if not stat.S_ISREG(owner.st_mode):
                continue
            lines = path.read_text().splitlines()
            pid, (key, number) = lines[0], lines[6].split()
            proof = [key, number, pid, "0", str(owner.st_uid)]
            fields = (_KEY, _ID, _CREATOR, _ATTACHED, _USER)
            made = [line.split() for line in _SEGMENTS.read_text().splitlines()]
            if any([each[field] for field in fields] == proof for each in made):
                ctypes.CDLL(None, use_errno=True).shmctl(int(number), _IPC_RMID, None)
