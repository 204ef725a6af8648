"""Processes of pytest in which the large packages are imported already.

Most of a short run's time is that of the interpreter and of imports. So one process imports what
nearly every run does, and each run is a fork of it: a process of its own, with its own arguments,
directory, environment and end. So is each worker that such a run has of pytest-xdist. No plugin of
pytest is registered ahead; of pytest-berth, the modules are imported that bring in no package which
a run may do without. ``BERTH_TESTS_FORKED=off`` starts an interpreter for each run instead, as the
floors and the nightly session do.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, ClassVar, NoReturn, TextIO

from _pytest.config import default_plugins
from execnet import gateway_base, gateway_io

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
# Modules of ours that bring in further packages, or that few runs import.
NOT_AHEAD = (
    *(f"pytest_berth.{name}" for name in ("cli", "django", "find_polluter", "standalone")),
    "pytest_berth.isolation.async_connections",
    "pytest_berth.reporting.live_lines",
    "pytest_berth.services.postgres.asynchronous",
    "pytest_berth.services.postgres.isolation.rollback_connection_psycopg2",
    *(
        f"pytest_berth.services.{name}."
        for name in (
            "elasticsearch",
            "generic",
            "mongodb",
            "mysql",
            "opensearch",
            "rabbitmq",
            "s3",
            "wiremock",
        )
    ),
)
PYTEST = [sys.executable, "-mpytest"]
WORKER = [sys.executable, "-u", "-c", gateway_io.popen_bootstrapline]
# What the interpreter reads of its environment, it reads when it starts.
AT_START = ("PYTHON", "LANG", "LC_")
ENVIRONMENT = dict(os.environ)
LARGEST_REQUEST = 1 << 17


class Forked:
    """A fork of the server, as much like `subprocess.Popen` as pytester and execnet need."""

    stdin: BinaryIO | None = None
    stdout: BinaryIO | None = None

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
    with Path(os.devnull).open() as stdin:
        return _fork(_server(), command, environment, [stdin, stdout, stderr])


def _fork(
    server: socket.socket,
    command: Sequence[str],
    environment: Mapping[str, str],
    files: Sequence[IO[Any]],
) -> Forked:
    request = {"command": command, "directory": str(Path.cwd()), "environment": environment}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        numbers = [*(file.fileno() for file in files), theirs.fileno()]
        socket.send_fds(server, [json.dumps(request).encode()], numbers)
    return Forked(command, ours)


def _serves(environment: Mapping[str, str], *, whatever: Sequence[str] = ()) -> bool:
    """Tell whether a fork is as good as an interpreter, *whatever* these variables say."""
    at_start, ours = (_at_start(each, whatever) for each in (environment, ENVIRONMENT))
    is_wanted = ENVIRONMENT.get("BERTH_TESTS_FORKED") != "off"
    return is_wanted and sys.platform == "linux" and at_start == ours


def _at_start(environment: Mapping[str, str], whatever: Sequence[str]) -> dict[str, str]:
    names = {name for name in environment if name.startswith(AT_START)}
    return {name: environment[name] for name in names.difference(whatever)}


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
    """Fork for each request; in the fork, return the command that it is to run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Its end is that of the process it works for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for those that wait.
    for name in (*IMPORTED, *_ours()):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    of_forks, forks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.freeze()
    while True:
        readable, _, _ = select.select([requests, of_forks], [], [])
        request, files, _, _ = socket.recv_fds(readable[0], LARGEST_REQUEST, 4)
        if not request:
            sys.exit()
        if os.fork() == 0:
            requests.close()
            of_forks.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            pid = os.fork()
            if pid == 0:
                ForkedWorker.server = forks
                return _begin(json.loads(request), *files)
            _tell_end(pid, files)
        for file in files:
            os.close(file)


class ForkedWorker(gateway_io.Popen2IOMaster):
    """How a run talks to a worker of pytest-xdist that is a fork, too."""

    server: ClassVar[socket.socket]

    def __init__(self, args: list[str], execmodel: Any) -> None:
        environment = dict(os.environ)
        if args != WORKER or not _serves(environment, whatever=["PYTHONPATH"]):
            super().__init__(args, execmodel)
            return
        (stdin, to_it), (from_it, stdout) = map(_open_pipe, (os.pipe(), os.pipe()))
        with stdin, stdout:
            files = [stdin, stdout, sys.__stderr__]
            self.popen = _fork(self.server, args, environment, files)
        gateway_base.Popen2IO.__init__(self, to_it, from_it, execmodel)


def _open_pipe(numbers: tuple[int, int]) -> tuple[BinaryIO, BinaryIO]:
    reading, writing = numbers
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb")


def _ours() -> Iterator[str]:
    """Yield the names of our modules that are imported ahead."""
    import pytest_berth

    for module in pkgutil.walk_packages(pytest_berth.__path__, "pytest_berth."):
        if not module.name.startswith(NOT_AHEAD):
            yield module.name


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


def _begin(request: dict[str, Any], *files: int) -> list[str]:
    """Make this process what an interpreter would be that has just been started."""
    *standard, report = files
    os.close(report)
    for place, file in enumerate(standard):
        os.dup2(file, place)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    tempfile.tempdir = None
    os.chdir(request["directory"])
    # As `python -m` and PYTHONPATH have it, in the place of this file's directory.
    sys.path[:1] = [request["directory"], *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    command: list[str] = request["command"]
    return command


if __name__ == "__main__":
    gateway_io.Popen2IOMaster = ForkedWorker  # type: ignore[misc]  # for runs with workers
    _command = serve(socket.socket(fileno=int(sys.argv[1])))
    if _command == WORKER:
        exec(_command[-1], {"__name__": "__main__"})  # As `python -c` does.
    else:
        sys.argv[1:] = _command[len(PYTEST) :]
        runpy.run_module("pytest", run_name="__main__", alter_sys=True)
