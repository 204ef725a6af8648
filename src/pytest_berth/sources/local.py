"""Servers as processes of this machine."""

from __future__ import annotations

import dataclasses
import errno
import os
import shlex
import signal
import subprocess
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_berth.api import LocalRequest, Server
from pytest_berth.debug_log import ignoring
from pytest_berth.errors import StartError
from pytest_berth.sources import (
    data_directories,
    os_account,
    owned_directories,
    ports,
    programs,
    shared_memory,
    snapshots,
)
from pytest_berth.sources.snapshots import StoredSnapshot
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import psutil

    from pytest_berth.api import Credentials, LocalProcess, Progress, Service
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError

_LOG = "server.log"
_PREFIX = "berth-server-"
_STOP_WITHIN = 10
_AT_MOST = 5
_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "Check free disk space")
_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_TELLS_WITHIN = 2.0


@dataclass
class Local:
    """The source that runs a service's binaries as a process of this machine."""

    settings: Settings
    run_id: str
    name: str = field(default="local", init=False)
    reserved: list[ports.Reservation] = field(default_factory=list, init=False)

    def load(self) -> None:
        """Import what starts processes."""
        import_module("psutil")

    def obstacle(self, service: Service, progress: Progress) -> BerthError | None:
        """Tell why no process can serve: no binaries for this machine."""
        return service.backend.local_obstacle(self.settings)

    def plan(self, service: Service, credentials: Credentials, *, fixed: bool) -> Server:
        """Describe the server to be; it listens on the loopback interface only."""
        port = ports.fixed(service, self.settings) or self._reserve()
        return Server(service.name, self.name, "127.0.0.1", port, credentials)

    def start(self, service: Service, plan: Server, progress: Progress) -> Server:
        """Prepare the server's directory and launch the process."""
        ports.claim(service, self.settings, self.reserved)
        directory = self._directory(plan)
        try:
            place = (directory, plan.port, plan.credentials, progress, self._reserve)
            request = LocalRequest(*place, plan.parameters)
            spec = service.backend.local(self.settings, request)
            for path, content in spec.files.items():
                os_account.write(directory / path, content)
            stored = self._snapshot(service, plan, spec)
            from_snapshot = stored is not None and stored.restore(directory / spec.data)
            for command in () if from_snapshot else spec.prepare:
                _prepare(command, directory)
            handle = _launch(spec, directory)
        except BaseException as error:
            # What has been interrupted may have children that still write there.
            self._remove_all(directory.name)
            if isinstance(error, OSError) and error.errno in _NO_PLACE:
                raise data_directories.unusable(directory.parent, str(error)) from error
            raise
        return dataclasses.replace(
            plan,
            version=spec.version,
            detail=f"{spec.detail}, from a snapshot" if from_snapshot else spec.detail,
            parameters={**plan.parameters, **spec.parameters},
            handle=handle,
            snapshot=stored.name if stored else "",
            from_snapshot=from_snapshot,
        )

    def _snapshot(
        self, service: Service, plan: Server, spec: LocalProcess
    ) -> StoredSnapshot | None:
        secret = snapshots.password(self.settings, service) if spec.data else ""
        if not secret:
            return None
        identity = (secret, spec.version, spec.command[0], str(os_account.identity()))
        return StoredSnapshot(snapshots.name(self.settings, plan, *identity, *_options(spec)))

    def stop(self, server: Server) -> None:
        """End the process with its children and remove its directory."""
        process = _process(server)
        if process:
            _end(process, server.handle["signal"])
        directory = Path(server.handle["directory"])
        if _is_ours(directory):
            shared_memory.release(directory)
            # Children of a killed server may write a little longer.
            wait_for(lambda: _removed(directory), _STOP_WITHIN, message=f"removal of {directory}")
        if server.handle.get("after"):
            _detach(server.handle["after"])

    def store_snapshot(self, server: Server) -> None:
        """End the process so that its data is complete, and move that to the user's cache."""
        process = _process(server)
        if process:
            _end(process, server.handle["clean_signal"])
            StoredSnapshot(server.snapshot).store(
                Path(server.handle["directory"], server.handle["data"])
            )

    def forget_snapshot(self, server: Server) -> None:
        """Remove the directory that the server's data was copied from."""
        StoredSnapshot(server.snapshot).forget()

    def clear(self, plan: Server) -> None:
        """End every process of the server, and remove its directory."""
        self._remove_all(f"{self._prefix}{plan.key}.*")

    def join(self, server: Server) -> None:
        """Do nothing: the process does not know who uses it."""

    def identity(self, service: Service) -> Sequence[str] | None:
        """Return the programs, their settings, and what they inherit."""
        return (*service.backend.local_identity(self.settings), *programs.inherited())

    def sweep(self, spared: Collection[Server] = ()) -> None:
        """End every process that works in a directory of this run, and remove these."""
        kept = [server.handle["directory"] for server in spared if server.source == self.name]
        self._remove_all(f"{self._prefix}*", kept)

    @property
    def _prefix(self) -> str:
        # Not the run's own directory, whose name has no service in it.
        return f"{_PREFIX}{self.run_id}-"

    def _remove_all(self, pattern: str, spared: Collection[str] = ()) -> None:
        kept = {Path(each).resolve() for each in spared}
        for directory in (
            found for place in data_directories.everywhere() for found in place.glob(pattern)
        ):
            if directory.resolve() in kept or not _is_ours(directory):
                continue
            # Again, as a program may have started another one meanwhile.
            any(not _kill_below(directory) for _ in range(_AT_MOST))
            shared_memory.release(directory)
            owned_directories.remove(directory)

    def log_position(self, server: Server) -> float:
        """Return the present size of the log, in bytes."""
        # Each test asks: this takes a tenth of what a `Path` takes.
        path = os.path.join(os.fspath(server.handle["directory"]), _LOG)  # noqa: PTH118
        try:
            return float(os.stat(path).st_size)  # noqa: PTH116
        except FileNotFoundError:
            return 0.0

    def log(self, server: Server, since: float) -> str:
        """Return what the server wrote to its log since a mark."""
        try:
            with _log_path(server).open("rb") as stream:
                stream.seek(int(since))
                return stream.read().decode(errors="replace")
        except FileNotFoundError:
            return "(the log of the server is gone)"

    def exit_status(self, server: Server) -> str | None:
        """Describe how the process ended, None while it runs."""
        pid, process = server.handle["pid"], _process(server)
        if process is None:
            return f"the process {pid} {_how_it_ended(pid)}"
        # It would never answer again.
        return f"the process {pid} is stopped (SIGSTOP)" if _is_stopped(process) else None

    def other_listener(self, server: Server) -> str:
        """Describe the process that listens at the server's port and is none of the server's."""
        process = ports.listener(server.port)
        if process is None or process.pid in {each.pid for each in _family(server)}:
            return ""
        return ports.describe(process, server.port)

    def suspension(self, server: Server) -> str:
        """Tell which of the server's processes is stopped; nothing where all of them run."""
        held = [each.pid for each in _family(server) if _is_stopped(each)]
        return f"the process {held[0]} was stopped (SIGSTOP)" if held else ""

    def kill(self, server: Server) -> None:
        """End the server's processes as they are; its directory, with the log, stays."""
        import psutil

        family = _family(server)
        for process in family:
            with ignoring(psutil.NoSuchProcess, why="it has ended by itself"):
                process.kill()
        _left_after_waiting(family)

    def _reserve(self) -> int:
        reservation = ports.reserve()
        self.reserved.append(reservation)
        return reservation.port

    def _directory(self, plan: Server) -> Path:
        # Beside the run's own directory, not in it: an unprivileged server could not enter there.
        place = data_directories.choose()
        path = owned_directories.make(f"{self._prefix}{plan.key}.", place)
        os_account.give(path)
        return path


def _kill_below(directory: Path) -> bool:
    """Kill every process that works in a directory; tell whether there were any."""
    import psutil

    found = [
        process
        for process in psutil.process_iter(["cwd"])
        if _is_below(process.info["cwd"], directory)
    ]
    for process in found:
        _end(process, "SIGKILL")
    return bool(found)


def _options(spec: LocalProcess) -> list[str]:
    """Return how the data is made: what is initialised otherwise is another snapshot."""
    return [
        part
        for command in spec.prepare
        for part in command
        if part[:2] == "--" and os.sep not in part
    ]


def _prepare(command: Sequence[str], directory: Path) -> None:
    result = os_account.run(command, directory)
    if not result.returncode:
        return
    said = result.stdout.strip()[-2000:]
    if any(sign in said for sign in _FULL):
        raise data_directories.unusable(directory.parent, said)
    raise StartError(
        f"{Path(command[0]).name} failed with status {result.returncode}.",
        why=said,
        remedy=f"try it by hand, as another user than root: {_by_hand(command, directory)}",
    )


def _by_hand(command: Sequence[str], directory: Path) -> str:
    """Return a command that does the same in a new directory: ours is gone by then."""
    kept = [part for part in command if not part.startswith("--pwfile")]
    return shlex.join(kept).replace(str(directory), '"$(mktemp -d)"')


def _launch(spec: LocalProcess, directory: Path) -> dict[str, Any]:
    import psutil

    told = os_account.telling_what_cannot_run(spec.command[0])
    account = {} if spec.own_account else os_account.identity()
    with (directory / _LOG).open("ab") as log, told:
        process = subprocess.Popen(
            spec.command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C belongs to pytest: the server must outlive it until the run's end.
            start_new_session=True,
            env=os_account.environment(),
            **account,
        )
    # The run's end finds the process by its pid, from whichever process that is.
    process.returncode = 0
    return {
        "pid": process.pid,
        "created": psutil.Process(process.pid).create_time(),
        "directory": str(directory),
        "signal": spec.stop_signal,
        "after": list(spec.after),
        "data": spec.data,
        "clean_signal": spec.clean_signal,
    }


def _detach(command: Sequence[str]) -> None:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Nobody waits for it: it may outlive this run.
    process.returncode = 0


def _process(server: Server) -> psutil.Process | None:
    """Return the server's process; its start time, or where it works, guards against a reused pid.

    The start time is told by the clock, which may be set anew while a kept server runs.
    """
    import psutil

    try:
        process = psutil.Process(server.handle["pid"])
        same = process.create_time() == server.handle["created"]
        same = same or _is_below(process.cwd(), Path(server.handle["directory"]))
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _family(server: Server) -> list[psutil.Process]:
    """Return the server's process and its children; nothing where it has ended."""
    import psutil

    process = _process(server)
    with ignoring(psutil.NoSuchProcess, why=f"{server.service} has ended"):
        return [process, *process.children(recursive=True)] if process else []
    return []


def _is_stopped(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def _is_below(path: str | None, directory: Path) -> bool:
    # The system tells where a process works without links; the temporary directory may be one.
    found = Path(path or os.sep)
    return bool({directory, directory.resolve()} & {found, *found.parents})


def _how_it_ended(pid: int) -> str:
    try:
        # Left for others to ask again. The last of its threads may end a little later.
        ended = wait_for(
            lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), _TELLS_WITHIN
        )
    except (AttributeError, ChildProcessError, TimeoutError):
        # Another worker has started it, or the platform does not tell.
        return "has ended"
    assert ended is not None, "that is waited for"
    if ended.si_code == os.CLD_EXITED:
        return f"has ended with status {ended.si_status}"
    return f"was ended by {signal.Signals(ended.si_status).name}"


def _end(process: psutil.Process, signal_name: str) -> None:
    import psutil

    family = [process]
    with ignoring(psutil.NoSuchProcess, why="it has ended by itself"):
        family += process.children(recursive=True)
        process.send_signal(getattr(signal, signal_name, signal.SIGTERM))
        # One that is stopped would not hear it.
        process.resume()
    for straggler in _left_after_waiting(family):
        with ignoring(psutil.NoSuchProcess, why="it has ended by itself"):
            straggler.kill()
    _left_after_waiting(family)


def _left_after_waiting(family: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Wait for the end of processes, and return those that live on.

    What has ended and whose parent has not asked yet how counts as ended: where the worker that
    started a server is gone, that is up to the system's first process, which may take its time.
    """
    import psutil

    def living() -> list[psutil.Process]:
        return [process for process in family if _lives(process)]

    with ignoring(TimeoutError, why="some processes live on"):
        wait_for(lambda: not living(), _STOP_WITHIN, interval=0.002)
    # Children of this very process are asked now.
    psutil.wait_procs(family, timeout=0)
    return living()


def _lives(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_ours(directory: Path) -> bool:
    """Tell whether berth has provably made a directory for a server."""
    user = os_account.identity().get("user")
    return owned_directories.is_ours(directory, _PREFIX, data_directories.everywhere(), user)


def _removed(directory: Path) -> bool:
    owned_directories.remove(directory)
    return not directory.exists()


def _log_path(server: Server) -> Path:
    return Path(os.fspath(server.handle["directory"])) / _LOG
