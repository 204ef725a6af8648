"""TCP ports: chosen before a server starts, and reserved among runs."""

from __future__ import annotations

import getpass
import os
import random
import socket
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.errors import StartError

if TYPE_CHECKING:
    from filelock import FileLock

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15000
_ATTEMPTS = 200


@dataclass(frozen=True)
class Reservation:
    """A port that no other run takes while this object lives."""

    port: int
    lock: FileLock = field(repr=False)


def reserve() -> Reservation:
    """Choose a port that is free and that no other run has chosen.

    It lies outside the range from which the kernel takes ports for clients: there, a connection
    of any program could take it between the choice and the start.

    Raises:
        StartError: No free port was found.
    """
    clients = _client_ports()
    candidates = [port for port in range(_LOWEST, 65536) if port not in clients]
    for port in random.sample(candidates, _ATTEMPTS):
        lock = _lock(port)
        if lock and _is_free(port):
            return Reservation(port, lock)
    raise StartError(
        "no free TCP port was found for a server.",
        why=f"{_ATTEMPTS} ports from {_LOWEST} upwards were tried",
        remedy="end what listens there; `ss -ltn` lists it",
    )


def _lock(port: int) -> FileLock | None:
    from filelock import FileLock, Timeout

    lock = FileLock(_directory() / str(port), blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def _directory() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    directory = Path(tempfile.gettempdir()) / f"berth-ports-{user}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    # The name can be guessed: what somebody else has put there is not followed.
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        raise StartError(
            f"{directory} cannot be used to reserve ports.",
            why="it is not a directory of this user",
            remedy=f"remove it, or set TMPDIR to a directory of your own: rm {directory}",
        )
    return directory


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _client_ports() -> range:
    """Return the kernel's range of client ports; IANA's where it cannot be read."""
    try:
        low, high = map(int, _RANGE.read_text().split())
    except OSError:
        return range(49152, 65536)
    return range(low, high + 1)
