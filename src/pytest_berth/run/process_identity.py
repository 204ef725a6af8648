"""Which process is meant: its id alone says nothing, as ids are used again.

Standard library only, and little of this package: the reaper imports it in isolation.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from pytest_berth.debug_log import ignoring

if sys.platform != "win32":
    import fcntl


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

    @property
    def is_here(self) -> bool:
        """Whether its id means the same to us: the same boot and the same pid namespace."""
        return self.machine == machine()

    @property
    def shares_kernel(self) -> bool:
        """Whether it runs under our kernel, if perhaps in another container."""
        return self.machine.split()[0] == machine().split()[0]

    def is_gone(self) -> bool:
        """Tell whether it has provably ended; False where that cannot be known from here."""
        return self.is_here and _started(self.pid) != self.started


def this_process() -> Process:
    """Return the running process."""
    return Process(os.getpid(), _started(os.getpid()), machine())


def machine() -> str:
    """Name the boot and the pid namespace: two containers share the one, not the other."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{sys.platform}-{_boot_of_macos() or os.environ.get('COMPUTERNAME', '')}"


def _boot_of_macos() -> str:
    """Return the id of this boot; engines are shared with other machines."""
    if sys.platform != "darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


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


def write(path: Path, process: Process, *further: object) -> int:
    """Write down a process, and hold a lock on the file.

    Where pids say nothing, in another container, the lock does: it is free when nobody holds the
    descriptor any more. It is there before there is anything to be read. What is
    written further, `read` leaves out.

    Returns:
        A descriptor, to be kept open as long as the process lives.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    if sys.platform != "win32":
        with ignoring(OSError, why="not every file system knows locks"):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.write(descriptor, json.dumps([*process, *further]).encode())
    return descriptor


def read(path: Path) -> Process | None:
    """Return the process that a file names, None when the file is gone or half-written."""
    try:
        pid, started, machine, *_ = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return Process(pid, started, machine)


def is_own_directory(path: Path) -> bool:
    """Tell whether it is this user's directory, and not a link that somebody else has planted."""
    try:
        found = path.lstat()
    except OSError:
        return False
    mine = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return mine and stat.S_ISDIR(found.st_mode)


def is_held(path: Path) -> bool:
    """Tell whether the process that has written a file still holds it; True in doubt."""
    if sys.platform == "win32":
        return True
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
