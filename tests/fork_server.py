"""Processes of pytest in which the large packages are imported already.

Most of a short run's time is that of the interpreter and of imports. So one process imports what
nearly every run does, and each run is a fork of it: a process of its own, with its own arguments,
directory, environment and end. Nothing of pytest-berth, and no plugin of pytest, is imported ahead.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from _pytest.config import default_plugins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IMPORTED = (
    *(f"_pytest.{name}" for name in default_plugins),
    "asyncio",
    "docker",
    "filelock",
    "kafka",
    "pdb",
    "platformdirs",
    "psutil",
    "psycopg",
    "redis",
    "rich.console",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.orm",
)
PYTEST = [sys.executable, "-mpytest"]
# What the interpreter reads of its environment, it reads when it starts.
AT_START = ("PYTHON", "LANG", "LC_")
ENVIRONMENT = dict(os.environ)
LARGEST_REQUEST = 1 << 17


class Forked:
    """A fork of the server that runs pytest, as much like `subprocess.Popen` as pytester needs."""

    stdin = None

    def __init__(self, arguments: Sequence[str], report: socket.socket) -> None:
        self.arguments = arguments
        self.report = report
        self.pid = int(report.recv(32))

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status as `subprocess.Popen` tells it; raise when it takes too long."""
        self.report.settimeout(timeout)
        try:
            status = int(self.report.recv(32))
        except TimeoutError:
            raise subprocess.TimeoutExpired(self.arguments, timeout or 0) from None
        self.report.close()
        return status

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.pid, signal.SIGKILL)


def popen(
    command: Sequence[str], stdout: TextIO, stderr: TextIO, **options: object
) -> Forked | subprocess.Popen[bytes]:
    """Start pytest, by a fork where that makes no difference; with no standard input."""
    environment = dict(os.environ)
    path = [str(Path.cwd()), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(path)
    if list(command[:2]) != PYTEST or not _serves(os.environ):
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment
        )
    request = {"arguments": command[2:], "directory": str(Path.cwd()), "environment": environment}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        files = [stdout.fileno(), stderr.fileno(), theirs.fileno()]
        socket.send_fds(_server(), [json.dumps(request).encode()], files)
    return Forked(command, ours)


def _serves(environment: Mapping[str, str]) -> bool:
    return sys.platform == "linux" and _at_start(environment) == _at_start(ENVIRONMENT)


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}


@functools.cache
def _server() -> socket.socket:
    """Start the server, which ends when this process does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
    atexit.register(_end, server, ours)
    return ours


def _end(server: subprocess.Popen[bytes], requests: socket.socket) -> None:
    requests.close()
    server.wait()


def serve(requests: socket.socket) -> list[str]:
    """Fork for each request; in the fork, return the arguments for pytest."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Its end is that of the process it works for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for those that wait.
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    while True:
        request, files, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 3)
        if not request:
            sys.exit()
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            pid = os.fork()
            if pid == 0:
                return _begin(json.loads(request), *files)
            _tell_end(pid, files)
        for file in files:
            os.close(file)


def _tell_end(pid: int, files: list[int]) -> NoReturn:
    """Wait for pytest, for a server that has to be ready for other requests."""
    report = socket.socket(fileno=files.pop())
    for file in files:
        os.close(file)
    report.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):  # Who asked may be gone.
        report.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _begin(request: dict[str, Any], stdout: int, stderr: int, report: int) -> list[str]:
    """Make this process what an interpreter would be that has just been started."""
    os.close(report)
    for file, place in ((stdout, 1), (stderr, 2)):
        os.dup2(file, place)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    tempfile.tempdir = None
    os.chdir(request["directory"])
    # As `python -m` and PYTHONPATH have it, in the place of this file's directory.
    sys.path[:1] = [request["directory"], *os.environ["PYTHONPATH"].split(os.pathsep)]
    arguments: list[str] = request["arguments"]
    return arguments


if __name__ == "__main__":
    sys.argv[1:] = serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)
