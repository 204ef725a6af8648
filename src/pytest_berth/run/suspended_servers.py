"""A server that stands still: its process is stopped (SIGSTOP), or its container is paused.

What waits for an answer of it waits without end, whatever the driver: berth, the test, a program of
the schema. The reaper looks at the servers of its run, and ends one that has stood still for long.
That closes every connection to it; the server is told, and replaced, as one that is lost.

Standard library only where the reaper looks: it imports this in isolation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import ignoring
from pytest_berth.run.registry import Registry, is_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# A test may hold a server for a while to see what the application does.
FOR = 30.0
_LOOK_EVERY = 1.0
_ASK_ENGINE_EVERY = 5.0
_STOPPED = "T"


@dataclass
class Watch:
    """What looks at the servers of a run, for its reaper.

    Attributes:
        directory: The run's directory.
    """

    directory: Path
    _since: dict[Path, float] = field(default_factory=dict, init=False)
    _looked: dict[Path, float] = field(default_factory=dict, init=False)

    def look(self) -> None:
        """Have the servers ended that have stood still for long."""
        for key, noted in Registry(self.directory).launched_files().items():
            if self._is_suspended_for_long(noted):
                del self._since[noted]
                _end_apart(self.directory, key)

    def _is_suspended_for_long(self, noted: Path) -> bool:
        now = time.monotonic()
        server = _read(noted)
        every = _LOOK_EVERY if server.get("source") == "local" else _ASK_ENGINE_EVERY
        if now - self._looked.get(noted, 0.0) >= every:
            self._looked[noted] = now
            if not _is_suspended(server):
                self._since.pop(noted, None)
                return False
            self._since.setdefault(noted, now)
        return now - self._since.get(noted, now) >= FOR


def end(directory: Path, key: str) -> None:
    """End a server of a run if it stands still, and tell the run's processes that it is lost.

    Args:
        directory: The run's directory.
        key: What the run calls the server.
    """
    from pytest_berth.config.options import OPTIONS, defaults
    from pytest_berth.run import run
    from pytest_berth.sources.choose import Sources

    registry = Registry(directory)
    server = registry.read("launched", key) if is_directory(directory) else None
    if server is None:
        return
    source = Sources(defaults(directory, OPTIONS), run.resume(directory).id, dict)[server.source]
    suspension = source.suspension(server)
    if suspension:
        # First, as those who wait for the server see its end at once.
        registry.note_lost(server, f"{suspension} for {FOR:.0f} s, so berth has ended it")
        source.kill(server)


def _read(noted: Path) -> Mapping[str, Any]:
    try:
        return dict(json.loads(noted.read_text()))
    except (OSError, ValueError):
        return {}  # it is gone meanwhile


def _is_suspended(server: Mapping[str, Any]) -> bool:
    handle = server.get("handle", {})
    if server.get("source") == "local":
        return _STOPPED in map(_state, _family(handle["pid"]))
    if server.get("source") == "container":
        from pytest_berth.sources import engine_socket

        path = engine_socket.socket_path()
        return path is not None and engine_socket.is_suspended(path, handle["container"])
    return False


def _family(pid: int) -> Iterator[int]:
    """Yield a process and its children, where the system tells them as files."""
    yield pid
    with ignoring(OSError, why=f"the process {pid} has no children that the system tells"):
        yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def _state(pid: int) -> str:
    """Return the letter of a process's state; one that is traced by a debugger has another."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _end_apart(directory: Path, key: str) -> None:
    # Not waited for: an engine that does not answer must not keep this run unguarded.
    subprocess.Popen(
        [sys.executable, "-m", "pytest_berth.run.suspended_servers", str(directory), key],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(directory.parent)},
    )


if __name__ == "__main__":
    end(Path(sys.argv[1]), sys.argv[2])
