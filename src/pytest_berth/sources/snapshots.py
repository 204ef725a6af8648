"""Snapshots: the data of a server that was initialised, and perhaps migrated, for later runs.

A server that starts from one has nothing to initialise. It is taken from a cleanly stopped server
whose service has left nothing of a test on it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth import file_locks
from pytest_berth.config.options import SNAPSHOTS
from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import BerthError, StartError
from pytest_berth.sources import artifact_cache, os_account, owned_directories
from pytest_berth.waiting import wall_clock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pytest_berth.api import Server, Service, Source
    from pytest_berth.config.options import Settings

# Snapshots of one service and project, and seconds without use, after which they go.
MOST = 3
UNUSED = 30 * 24 * 3600.0
_PLACE = "snapshots"
_SECRET = "secret"
# Part of each name: what an earlier form has left has another one.
_FORMAT = "3"
_FILE = "content"


def wanted(settings: Settings, service: Service) -> bool:
    """Tell whether a service's servers start from snapshots, and leave them behind."""
    choice = settings[SNAPSHOTS]
    return service.snapshots and (choice == "on" or (choice == "auto" and not in_ci()))


def in_ci() -> bool:
    """Tell whether this machine is there for one run, so that later ones gain nothing."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def password(settings: Settings, service: Service) -> str:
    """Return the password of the user's snapshots; empty where there are none to be.

    While a server runs, it has another one, of that run alone.

    Raises:
        StartError: ``berth_snapshots`` is on, and the cache cannot keep the password.
    """
    if not wanted(settings, service):
        return ""
    try:
        return _kept_secret()
    except (BerthError, OSError) as error:
        if settings[SNAPSHOTS] == "auto":
            debug("%s: no snapshot can be kept: %s", service.name, error)
            return ""
        raise StartError(
            "snapshots cannot be used: there is no place for their password.",
            why=str(error),
            remedy=f"{SNAPSHOTS.name} = off, or set {artifact_cache.CACHE_VARIABLE} to a directory"
            " of yours",
        ) from None


def obstacle() -> str:
    """Return why the cache cannot keep snapshots, and what to do; empty where it can."""
    try:
        _kept_secret()
    except BerthError as error:
        return " ".join(f"{error.what} {error.remedy}".split())
    except OSError as error:
        return str(error)
    return ""


def _kept_secret() -> str:
    secret = _secret(artifact_cache.cache_directory())
    if not os.access(_place(), os.W_OK):
        raise PermissionError(f"{_place()} cannot be written to")
    return secret


def take(service: Service, source: Source, server: Server, settings: Settings, run_id: str) -> None:
    """Store a snapshot of a server, if it holds nothing of a test; the server ends by that.

    Args:
        service: Its kind.
        source: Where it comes from.
        server: A server that the run has for itself.
        settings: The settings.
        run_id: The run.
    """
    if prepare(service, source, server, settings, run_id):
        source.store_snapshot(server)


def prepare(
    service: Service, source: Source, server: Server, settings: Settings, run_id: str
) -> bool:
    """Make a server ready to be stored; tell whether it is to be. The arguments are `take`'s."""
    secret = password(settings, service) if server.snapshot else ""
    if not secret or source.exit_status(server):
        return False
    if not service.backend.prepare_snapshot(server, run_id):
        debug("%s: a snapshot would hold nothing new, or something of a test", server.key)
        return False
    debug("%s: stored as the snapshot %s", server.key, server.snapshot)
    service.backend.set_password(server, secret)
    return True


def locked(server: Server, secret: str) -> Server:
    """Return a server with the password that it has in a snapshot."""
    return replace(server, credentials=replace(server.credentials, password=secret))


def name(settings: Settings, plan: Server, *identity: str) -> str:
    """Return the name of the snapshot of a server.

    Args:
        settings: They tell the project.
        plan: The server.
        identity: What else makes it another one: its programs, the snapshots' password.
    """
    user = plan.credentials
    key = _short(_FORMAT, *identity, user.user, user.database)
    return f"{plan.service}-{project(settings.root)}-{key}"


def shared_name(service: str, *identity: str) -> str:
    """Return the name of a snapshot that all projects of the user share."""
    return f"{service}-{_short(_FORMAT, *identity)}"


def project(root: Path) -> str:
    """Return the part of a snapshot's name that stands for a project."""
    return _short(str(root))


class StoredSnapshot(NamedTuple):
    """A snapshot as a directory in the user's cache."""

    name: str

    @property
    def path(self) -> Path:
        """The directory, which need not exist."""
        return _place() / self.name

    def restore(self, target: Path) -> bool:
        """Copy the data to where a server will use it; return False where there is no snapshot."""
        with self._lock():
            if not _is_ours(self.path):
                return False
            _copy(self.path, target)
            (target / owned_directories.RECORD).unlink()
            os.utime(self.path)
            return True

    def store(self, data: Path) -> None:
        """Store the data of a stopped server, and remove snapshots that were not used for long."""
        with self._lock():
            partial = self.path.with_name(f"{self.name}.{secrets.token_hex(4)}")
            try:
                _move(data, partial)
                owned_directories.mark(partial, self.name)
                self.forget()
                partial.rename(self.path)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            self._prune()

    def read(self) -> bytes | None:
        """Return the contents of a snapshot that is one file; None when there is none."""
        if not _is_ours(self.path):
            return None
        try:
            content = (self.path / _FILE).read_bytes()
        except FileNotFoundError:
            return None
        os.utime(self.path)
        return content

    def write(self, content: bytes) -> None:
        """Keep one file."""
        with tempfile.TemporaryDirectory(dir=_place().parent) as place:
            data = Path(place, "data")
            data.mkdir()
            (data / _FILE).write_bytes(content)
            self.store(data)

    def forget(self) -> None:
        """Remove the snapshot, if there is one."""
        if _is_ours(self.path):
            owned_directories.remove(self.path)

    def discard(self) -> None:
        """Remove the snapshot, or a part of one, when no run copies from it or to it."""
        with self._lock():
            self.forget()

    def _prune(self) -> None:
        group, long_ago = self.name.rpartition("-")[0], wall_clock() - UNUSED
        there = sorted(directories(), key=used, reverse=True)
        # A killed run may have left a part of one, which has a suffix.
        ours = [path for path in there if path.name.startswith(f"{group}-") and not path.suffix]
        for old in {*ours[MOST:], *(path for path in there if used(path) < long_ago)}:
            owned_directories.remove(old)

    def _lock(self) -> AbstractContextManager[None]:
        return file_locks.locked(_place() / f"{self.name.rpartition('-')[0]}.lock")


def directories() -> list[Path]:
    """Return the snapshots of local servers, of all projects of this user; nothing else there."""
    try:
        return sorted(filter(_is_ours, _place().iterdir()))
    except (BerthError, OSError) as error:
        debug("there are no snapshots: %s", error)
        return []


def _place() -> Path:
    place = artifact_cache.cache_directory() / _PLACE
    artifact_cache.make(place.parent)
    place.mkdir(mode=0o700, exist_ok=True)
    return place


def _is_ours(path: Path) -> bool:
    """Tell whether a path is a snapshot, or a part of one that a killed run has left."""
    user = os_account.identity().get("user")
    return owned_directories.is_ours(path, "", [path.parent], user)


def used(path: Path) -> float:
    """Return when a run has used a snapshot last, in seconds since 1970."""
    return path.stat().st_mtime


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        debug("%s is on another file system, and copied: %s", target, error)
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """Copy a directory, by reference where the file system can; owners and rights are kept."""
    by_reference = {"linux": ["-a", "--reflink=auto"], "darwin": ["-a", "-c"]}.get(sys.platform)
    if by_reference is None:
        shutil.copytree(source, target)
    else:
        command = ["cp", *by_reference, str(source), str(target)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            is_full = os.strerror(errno.ENOSPC) in done.stderr
            raise OSError(errno.ENOSPC if is_full else errno.EIO, done.stderr.strip()[-500:])


def _secret(place: Path) -> str:
    """Return the user's secret, made when first needed."""
    path = place / _SECRET
    artifact_cache.make(place)
    with ignoring(FileExistsError, why="the secret is there already"):
        _write_once(path, secrets.token_hex(16))
    found = path.lstat()
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        raise PermissionError(f"{path} is not this user's alone")
    return path.read_text(encoding="ascii")


def _write_once(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all, unless it is there."""
    if path.exists():
        return
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text)
        os.link(partial, path)
    finally:
        partial.unlink()


def _short(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
