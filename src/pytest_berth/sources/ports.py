"""TCP ports: chosen before a server starts, and reserved among runs."""

from __future__ import annotations

import errno
import getpass
import os
import random
import socket
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import RunEndedError, StartError
from pytest_berth.file_locks import HeldLock, LockHeldError

if TYPE_CHECKING:
    import psutil

    from pytest_berth.api import Service
    from pytest_berth.config.options import Settings

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15000
_ATTEMPTS = 200
_ANSWERS_WITHIN = 1.0


@dataclass(frozen=True)
class Reservation:
    """A port that no other run takes while this object lives."""

    port: int
    lock: HeldLock = field(repr=False)


def reserve() -> Reservation:
    """Choose a port that is free and that no other run has chosen.

    It lies outside the range from which the kernel takes ports for clients: there, a connection
    of any program could take it between the choice and the start.

    Raises:
        StartError: No free port was found.
    """
    clients = _client_ports()
    candidates = [port for port in range(_LOWEST, 65536) if port not in clients]
    for port in random.SystemRandom().sample(candidates, _ATTEMPTS):
        lock = _lock(port)
        if lock and _is_free(port):
            return Reservation(port, lock)
    raise StartError(
        "no free TCP port was found for a server.",
        why=f"{_ATTEMPTS} ports from {_LOWEST} upwards were tried",
        remedy="end what listens there; `ss -ltn` lists it",
    )


def fixed(service: Service, settings: Settings) -> int:
    """Return the port that the settings fix for a service's server; 0 where any will do."""
    return settings[service.port] if service.port else 0


def claim(service: Service, settings: Settings, reserved: list[Reservation]) -> None:
    """Reserve the port that the settings fix, if they do, for a server that starts now.

    Args:
        service: What is to listen there.
        settings: The settings.
        reserved: What this process has reserved, to which the port is added.

    Raises:
        StartError: Another run has reserved it, or something listens there.
    """
    port = fixed(service, settings)
    if not (port and service.port):
        return
    if not any(each.port == port for each in reserved):
        lock = _lock(port)
        if lock is None:
            holder = "another run of pytest-berth has it: `pytest-berth ps` lists the runs"
            raise _taken(port, settings.given(service.port), holder, service.port.name)
        reserved.append(Reservation(port, lock))
    if _is_taken(port):
        raise _taken(port, settings.given(service.port), _holder(port), service.port.name)


def _taken(port: int, given: str, holder: str, option: str) -> StartError:
    return StartError(
        f"port {port} is taken.",
        why=f"{given}; {holder}",
        remedy=f"end what listens there, set another port by {option}, or leave {option} out:"
        " any free port is taken then, and berth_export tells the application",
    )


def _is_taken(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(_ANSWERS_WITHIN)
        if client.connect_ex(("127.0.0.1", port)) == 0:
            return True
    with socket.socket() as probe:
        if os.name == "posix":
            # Connections of a server that has ended do not keep the next one from listening.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def listener(port: int) -> psutil.Process | None:
    """Return the process that listens at a port of this machine; None where none can be seen."""
    import psutil

    with ignoring(psutil.Error, why="what listens is not seen by this user"):
        for entry in psutil.net_connections("tcp"):
            # The address is a pair, or nothing.
            listens = entry.status == psutil.CONN_LISTEN and entry.laddr[1:2] == (port,)
            if listens and entry.pid:
                return psutil.Process(entry.pid)
    return None


def _holder(port: int) -> str:
    process = listener(port)
    if process is None:
        return f"something listens there: `ss -ltnp sport = :{port}`, as root, says what"
    return describe(process, port)


def describe(process: psutil.Process, port: int) -> str:
    """Say who listens at a port, and how to find out more."""
    import psutil

    name = "a process that has ended meanwhile"
    with ignoring(psutil.NoSuchProcess, why="it has ended since"):
        name = process.name()
    text = f"{name} (pid {process.pid}) listens there"
    if name.startswith(("docker", "rootlesskit", "com.docker")):
        text += f": `docker ps --filter publish={port}` shows the container"
    return text


def _lock(port: int) -> HeldLock | None:
    try:
        return HeldLock(_directory() / str(port))
    except (LockHeldError, RunEndedError):
        return None  # somebody has it, or has removed the file at this moment


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
