"""Which process is meant: its id alone says nothing, as ids are used again.

Standard library only, and nothing of this package: the janitor imports it in isolation.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process, so that it can be told from a later one with the same id.

    Attributes:
        pid: Its id.
        started: When it started, in a unit of the operating system's.
        machine: Where ids mean the same: the boot and the pid namespace.
    """

    pid: int
    started: str
    machine: str

    def is_gone(self) -> bool:
        """Tell whether it has provably ended; False where that cannot be known from here."""
        return self.machine == _machine() and _started(self.pid) != self.started


def this_process() -> Process:
    """Return the running process."""
    return Process(os.getpid(), _started(os.getpid()), _machine())


def _machine() -> str:
    """Name the boot and the pid namespace: two containers share the one, not the other."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return sys.platform


def _started(pid: int) -> str:
    """Return when a process started, empty when there is none; zombies have ended."""
    try:
        # The name, in parentheses, may hold anything; what follows it is numbers.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _started_elsewhere(pid)
    return "" if fields[0] in "ZX" else fields[19]


def _started_elsewhere(pid: int) -> str:
    """Return a constant for a process that exists, where there is no ``/proc``."""
    if sys.platform == "win32":
        return _started_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "alive"
    return "alive"


def _started_on_windows(pid: int) -> str:
    import ctypes

    windows = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    handle = windows.OpenProcess(0x00100000, False, pid)  # SYNCHRONIZE
    if not handle:
        return ""
    ended = windows.WaitForSingleObject(handle, 0) == 0
    windows.CloseHandle(handle)
    return "" if ended else "alive"


def write(path: Path, process: Process) -> None:
    """Write down a process."""
    path.write_text(json.dumps(process))


def read(path: Path) -> Process | None:
    """Return the process that a file names, None when the file is gone or half-written."""
    try:
        pid, started, machine = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return Process(pid, started, machine)
