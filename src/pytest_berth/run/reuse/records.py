"""The records of kept servers: files in a directory of this user's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import stat
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.debug_log import debug
from pytest_berth.errors import RunEndedError
from pytest_berth.file_locks import LockHeldError, locked
from pytest_berth.run import heartbeat, process_identity, registry, run
from pytest_berth.waiting import wait_for, wall_clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_berth.api import Server

# The name on disk under which versions of format 2 know that the server stays.
_DIGEST = "condition"
_ENGINE = {
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
}
_TESTCONTAINERS = "TESTCONTAINERS_"


@dataclass(frozen=True)
class Record:
    """What is known of a kept server.

    Attributes:
        name: What a later run finds it by.
        server: The server, with its account.
        state_digest: What was on it when it was started.
        project: Directory of the project that it is kept for.
        user: Directory of the run that uses it, or has used it last.
        lasts: For how many seconds it stays when a run has left it.
        ends: When it ends unless a run uses it, in seconds since 1970.
        kept_until: Until when the state of failed tests stays on it; it ends no earlier.
        machine: The boot and the pid namespace that it was started in.
        node: The machine's name.
        engine: The variables of the environment that lead to its container engine.
        format: `registry.RECORD_FORMAT` of the version that has published it.
    """

    name: str
    server: Server
    state_digest: tuple[str, ...]
    project: str
    user: str
    lasts: float
    ends: float
    machine: str = field(default_factory=process_identity.machine)
    node: str = field(default_factory=platform.node)
    engine: Mapping[str, str] = field(default_factory=lambda: engine_variables(), repr=False)
    format: int = registry.RECORD_FORMAT
    kept_until: float = 0.0

    def __str__(self) -> str:
        """Return what the server is and where it runs."""
        server = self.server
        return f"{server.service} {server.version}, {server.source}, at {server.host}:{server.port}"

    @property
    def is_current(self) -> bool:
        """Whether it is of this version's format, so that its server may be reattached."""
        return self.format == registry.RECORD_FORMAT

    @property
    def is_used(self) -> bool:
        """Whether the run that uses it lives, or one of its workers does."""
        owner = registry.Registry(Path(self.user)).owner
        if not owner.exists():
            return False
        return not heartbeat.has_ended(owner) or bool(run.resume(owner.parent).live_workers())

    @property
    def is_over(self) -> bool:
        """Whether its time has passed, or its machine was started anew."""
        return wall_clock() >= self.stays_until or self._is_of_earlier_boot

    @property
    def stays_until(self) -> float:
        """When it ends unless a run uses it, in seconds since 1970."""
        return max(self.ends, self.kept_until)

    @property
    def holds_kept_state(self) -> bool:
        """Whether the state of a failed test is on it, and its time is not over."""
        return wall_clock() < self.kept_until

    @property
    def rest(self) -> str:
        """How much time it has left, for people."""
        if self.is_used:
            return "in use"
        seconds = max(0.0, self.stays_until - wall_clock())
        return f"{seconds / 60:.0f} min left" if seconds >= 100 else f"{seconds:.0f} s left"

    @property
    def last_run(self) -> str:
        """Id of the run that has used it last."""
        return run.resume(Path(self.user)).id

    @property
    def _is_of_earlier_boot(self) -> bool:
        same_boot = self.machine.split()[0] == process_identity.machine().split()[0]
        return self.node == platform.node() and not same_boot


class Records(NamedTuple):
    """The records in a directory."""

    directory: Path

    def read(self, name: str) -> Record | None:
        """Return a record, None when there is none."""
        try:
            path = self._registry.record(name)
            if not stat.S_ISREG(path.lstat().st_mode):
                return None
            return _load(json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
            debug("the record %s is gone, or of a version that is not known: %r", name, error)
            return None

    def all(self) -> list[Record]:
        """Return every record."""
        return [record for record in map(self.read, self._registry.names()) if record]

    def write(self, record: Record) -> None:
        """Write a record; readers see all of it or nothing."""
        path = self._registry.record(record.name)
        partial = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            fields = dataclasses.asdict(record)
            json.dump(fields | {_DIGEST: fields.pop("state_digest")}, stream)
        partial.replace(path)

    def remove(self, record: Record) -> None:
        """Remove the record of a server that has ended."""
        self._registry.record(record.name).unlink(missing_ok=True)

    @contextmanager
    def lock(self, name: str, *, within: float = 0.0) -> Iterator[None]:
        """Hold the lock under which a record may be changed, and its server ended.

        Args:
            name: The record's name; others than records have locks, too.
            within: Seconds to wait for it.

        Raises:
            LockHeldError: Another process, or another thread, holds it.
            FileNotFoundError: The directory is gone.
        """
        # Where it finds no directory, a lock of filelock's makes one, which others could read.
        self.directory.stat()
        path = self._registry.lock(name)
        with ExitStack() as held:
            try:
                wait_for(lambda: self._has_entered(held, path), within)
            except TimeoutError:
                raise LockHeldError(f"{path} was locked for {within:g} s") from None
            yield

    def _has_entered(self, held: ExitStack, path: Path) -> bool:
        try:
            held.enter_context(locked(path, blocking=False))
        except LockHeldError:
            return False
        except RunEndedError:
            self.directory.stat()  # or else another version has removed the file meanwhile
            return False
        return True

    @property
    def _registry(self) -> registry.ReuseRegistry:
        return registry.ReuseRegistry(self.directory)


def of_user() -> Records:
    """Return the records of this user's kept servers.

    Raises:
        PermissionError: Their directory is not this user's alone.
    """
    directory = place()
    directory.mkdir(mode=0o700, exist_ok=True)
    # The name can be guessed: what somebody else has put there is not followed.
    if not is_private(directory):
        raise PermissionError(f"{directory} is not a directory of this user alone")
    return Records(directory)


def is_private(directory: Path) -> bool:
    """Tell whether a directory is this user's alone, so that what stands there can be believed."""
    return process_identity.is_own_directory(directory) and not (
        os.name == "posix" and directory.lstat().st_mode & 0o077
    )


def place() -> Path:
    """Return the directory of this user's records, which need not exist."""
    return registry.reuse_directory(Path(tempfile.gettempdir()), _user())


def _user() -> int | str:
    if hasattr(os, "getuid"):
        return os.getuid()
    from getpass import getuser

    return getuser()


def name(service: str, project: Path, *identity: str) -> str:
    """Return what a server is found by.

    Args:
        service: Its kind.
        project: Directory of the project.
        identity: What makes it differ from others of its kind.
    """
    # Servers of another format are found under no name.
    parts = [str(registry.RECORD_FORMAT), str(project), process_identity.machine(), *identity]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return f"{service}-{digest[:16]}"


def name_for_one(service: str, run_id: str, slot: str) -> str:
    """Return a name that no later run looks for: its server stays, and is nobody's."""
    return f"{service}-of-{run_id}{f'-{slot}' if slot else ''}"


def all_of_user() -> list[Record]:
    """Return what this user keeps; what somebody else has put in the place is not looked at."""
    directory = place()
    return Records(directory).all() if is_private(directory) else []


def engine_variables() -> dict[str, str]:
    """Return the variables that lead to the engine; logins to registries are not among them."""
    return {name: value for name, value in os.environ.items() if leads_to_engine(name)}


def leads_to_engine(name: str) -> bool:
    """Tell whether a variable of the environment says which engine is meant."""
    return name in _ENGINE or name.startswith(_TESTCONTAINERS)


def _load(fields: Mapping[str, Any]) -> Record:
    # Of another version of this package, a record may have fields that are not known here.
    fields = {"format": 2, "state_digest": fields[_DIGEST], **fields}
    known = {each.name for each in dataclasses.fields(Record)}
    given = {name: value for name, value in fields.items() if name in known}
    given["server"] = registry.load(given["server"])
    given["engine"] = {
        each: text for each, text in given["engine"].items() if leads_to_engine(each)
    }
    return Record(**{**given, "state_digest": tuple(given["state_digest"])})
