"""The end of a run is not waited for: its reaper removes the containers, pytest goes on.

An engine takes a quarter of a second, and more, to remove a container, and a second and more to
make a snapshot of one. pytest waits for that only where the reaper may not live long enough, or is
not there any more: in CI, whose jobs are ended with all their processes; in a container that ends
with pytest; as a service, of which nothing outlives the main process. The run's directory stays
until all is removed, so that what a reaper leaves which is killed at it, the next run's removes.

Standard library only, and little of this package: the reaper imports it in isolation.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth.debug_log import debug, ignoring
from pytest_berth.run import process_identity
from pytest_berth.run.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_berth.api import Server

# Besides CI: what systems set that end a job's processes without setting that.
_OF_JOBS = (
    *("CI", "BUILD_NUMBER", "JENKINS_URL", "TEAMCITY_VERSION", "TF_BUILD"),
    *("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "KUBERNETES_SERVICE_HOST"),
)
# In a server's handle: the engine's socket, where requests go over it.
SOCKET = "socket"
_CONTAINERS = ("/.dockerenv", "/run/.containerenv")
_SERVICE = ".service"
_REMOVED_WITHIN = 60.0
_STORED_WITHIN = 600.0


class _Left(NamedTuple):
    """A container that is left to the reaper, in the form that its file has.

    Attributes:
        socket: Its engine's.
        container: Its id.
        image: The request that makes an image of it, before it is removed; empty for none.
    """

    socket: str
    container: str
    image: str


def why_waited(environment: Mapping[str, str]) -> str:
    """Return why a reaper may end together with this process; empty where it outlives it."""
    for name in _OF_JOBS:
        if environment.get(name, "").lower() not in {"", "0", "false"}:
            return f"{name} is set"
    if any(map(os.path.exists, _CONTAINERS)) and 1 in _ancestors():
        return "pytest may be what its container was started for"
    if _is_a_service():
        return "pytest runs as a service"
    return ""


def has_reaper(directory: Path) -> bool:
    """Tell whether the reaper of a run lives, and can be left something to do."""
    reaper = process_identity.read(Registry(directory).reaper)
    return reaper is not None and reaper.is_here and not reaper.is_gone()


def is_simple(server: Server) -> bool:
    """Tell whether a server is a container that only has to be removed, by a request of ours."""
    handle = server.handle
    is_more = server.reuse_record or handle.get("network") or handle.get("reaper")
    return bool(handle.get(SOCKET)) and not is_more


def leave(directory: Path, servers: Sequence[Server], images: Mapping[str, str]) -> None:
    """Leave containers to the run's reaper; the run must not do anything afterwards.

    Args:
        directory: The run's directory.
        servers: The containers' servers.
        images: By a server's key, the request by which the engine makes an image of its container,
            when that was stopped and before it is removed.
    """
    left = [
        _Left(each.handle[SOCKET], each.handle["container"], images.get(each.key, ""))
        for each in servers
    ]
    path = Registry(directory).handed_over
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(left))
    partial.replace(path)
    debug("left to the reaper: %s", ", ".join(each.key for each in servers))


def complete(directory: Path) -> bool:
    """Remove, in the reaper, the containers that a run has left to it, and store their snapshots.

    Returns:
        Whether all are gone; else something is left, for the run's sweeping.
    """
    from http.client import HTTPException

    try:
        left = json.loads(Registry(directory).handed_over.read_text())
        # An image takes its time: the others need not wait for it.
        in_order = sorted((_Left(*each) for each in left), key=lambda each: bool(each.image))
        return all(map(_is_removed, in_order))
    except (OSError, ValueError, HTTPException) as error:
        debug("what was left to the reaper stays: %s", error)
        return False


def _is_removed(left: _Left) -> bool:
    from http import HTTPStatus
    from http.client import HTTPException

    from pytest_berth.sources import engine_socket

    if left.image:
        with ignoring(OSError, ValueError, HTTPException, why="there is no snapshot, then"):
            _store(left)
    what = f"/containers/{left.container}?force=1&v=1"
    status, _ = engine_socket.request(left.socket, "DELETE", what, within=_REMOVED_WITHIN)
    return status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND}


def _store(left: _Left) -> None:
    """Make an image of a container, unless it does not end well."""
    from pytest_berth.sources import engine_socket, memory_copies

    where = f"/containers/{left.container}"
    stop = f"{where}/stop?t={memory_copies.STOPS_WITHIN}"
    engine_socket.request(left.socket, "POST", stop, within=_REMOVED_WITHIN)
    _, content = engine_socket.request(left.socket, "GET", f"{where}/json")
    ended = json.loads(content).get("State", {}).get("ExitCode")
    if ended == 0:
        status, content = engine_socket.request(
            left.socket, "POST", left.image, b"{}", within=_STORED_WITHIN
        )
        debug("stored: %s %s", status, content)
    else:
        debug("its data is not complete: the container %s ended with %s", left.container, ended)


def _ancestors() -> set[int]:
    """Return the ids of the processes that this one descends from, in its own pid namespace."""
    found: set[int] = set()
    pid = os.getpid()
    while pid and pid not in found:
        found.add(pid)
        try:
            # The name, in parentheses, may hold anything.
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return found
    return found


def _is_a_service() -> bool:
    """Tell whether systemd ends all processes of this one's group with its main process."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return False
    return any(line.endswith(_SERVICE) for line in lines)
