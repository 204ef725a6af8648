"""The registry: what all processes of a run know about it, as files in the run's directory.

This module owns every name in that directory; nothing else builds a path there. SERVER is a
server's key (``postgres``, ``redis-gw1``), WORK the name of work that is done once per run
(``postgres.template-0``), N the number of a server's restarts.

| File | Written by | Read by | Meaning |
|---|---|---|---|
| ``owner.json`` | the owner, first | all, other runs | the process that ends the run; `FORMAT` |
| ``berth-made-this.json`` | the owner, before | other runs | berth made it: `owned_directories` |
| ``ended`` | who sweeps up | all | nothing may be started any more |
| ``put-off`` | who sweeps up | the reaper of a later run | a line for each failed removal |
| ``heartbeat`` | the reaper | other runs | touched every five seconds while the run lives |
| ``reaper.log`` | the reaper | developers | what the reaper says |
| ``reaper.json`` | the reaper | the owner | the reaper lives |
| ``handed-over`` | the owner, at the end | the reaper | containers that it is to remove |
| ``worker-ID.json`` | an xdist worker | who sweeps up, other workers | the worker lives |
| ``ID.finished`` | an xdist worker | other workers | its tests have ended |
| ``progress`` | workers | the controller | lines for the terminal |
| ``usage-error`` | a worker | the controller | why the run is not begun |
| ``hints`` | workers | the controller | lines of the summary |
| ``failed-kept`` | workers | the controller | what stays of failed tests, or why not: a line each |
| ``ID.events`` | an xdist worker | the controller | what took how long: `timeline` |
| ``unit-tests`` | workers | workers | results of unit tests, with ``--berth-fail-fast`` |
| ``development.json`` | a supervisor | the command line | development servers, how to use them |
| ``development.log`` | a supervisor | developers | what the supervisor says |
| ``ID.request`` | the command line | the supervisor | what it is asked for |
| ``ID.answer`` | the supervisor | the command line | it is done, or why not |
| ``SERVICE.peek`` | who enters a debugger | the command line | what a test has done is there |
| ``SERVER.planned.json`` | the starter | all | source, account and perhaps address are settled |
| ``SERVER.launched.json`` | the starter | the end of the run | there is something to be stopped |
| ``SERVER.ready.json`` | the starter | all | it answers |
| ``SERVER.starting`` | the starter | the next starter | a start is going on, or died |
| ``SERVER.failed`` | the manager | all | the error of a start; nobody tries again |
| ``SERVER.failed-prestart`` | the manager | prestarts | the same of a prestart: tests try again |
| ``SERVER.chosen-by-prestart`` | the manager | the manager | a prestart chose its source |
| ``SERVER.not-reattached`` | the starter | the starter | there was no server to be reattached |
| ``SERVER.lost-N`` | who sees it end | all | the server is lost, and perhaps why |
| ``WORK.lock`` | all | all | one process at a time does the work |
| ``WORK.done`` | who has done it | all | the work is done; or its error |
| ``WORK.prebuilt`` | the prestart | who does the work | a template; its tables where it is whole |

A server's life: planned, launched, ready; lost, and then launched again with one restart more;
gone, when nothing is noted of it any more. What cannot be is refused: `ImpossibleStateError`.

The records of servers that stay for later runs are in a directory of their user's
(``berth-kept-USER``), whose names this module owns, too. NAME is a record's name
(``redis-0123456789abcdef``). Such a server is published by its run, left at the run's end,
reattached by a later one, and forgotten when it has ended.

| File | Written by | Read by | Meaning |
|---|---|---|---|
| ``NAME.json`` | the run that uses it | all runs, the reuse reaper | a server, and who uses it |
| ``ID.kept`` | a run | runs, the command line | the state of a failed test stays there |
| ``NAME.lock`` | all | all | one process at a time changes the record, or ends its server |
| ``register.lock`` | all | all | one process at a time writes a record, or ends for want of any |
| ``reaper.lock`` | the reuse reaper | all | it is held while the reuse reaper lives |
| ``reaper.log`` | the reuse reaper | developers | what the reuse reaper says |

Both are of a format that has a number. What a former version has left is read as well, so that it
can be removed; a server that it has left is never reattached. What a later one has left is not
touched.

Standard library only, and little of it: the reaper imports it in isolation.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_berth.api import Server

Stage: TypeAlias = Literal["planned", "launched", "ready"]

OWNER = "owner.json"
# Of what stands in a run's directory; an owner that tells no number is of format 1.
FORMAT = 3
REAPER = "reaper"
# Records without a number are of format 2.
RECORD_FORMAT = 3
REGISTER = "register"
_PUT_OFF = "put-off"
_HANDED_OVER = "handed-over"
_RUN, _REUSE = "berth-", "berth-kept-"
# Servers' directories and those of kept servers have another word where runs have their id.
_OF_RUN = re.compile(rf"{_RUN}[0-9a-f]+-\w+")
# What was called otherwise up to format 2, of runs and of records: a server's fields, its handle's.
_FORMER = {"kept": "reuse_record", "thawed": "from_snapshot", "adopted": "reattached"}
_FORMER_HANDLE = {"kept_file": "snapshot_file"}
_STAGES: tuple[Stage, ...] = ("planned", "launched", "ready")
# What has to be noted before; and, but for the first, of the same restart.
_AFTER: dict[Stage, Stage] = {"launched": "planned", "ready": "launched"}
_NAMES = {
    *(OWNER, "berth-made-this.json", "ended", _PUT_OFF, "heartbeat", f"{REAPER}.log"),
    *("progress", "usage-error", "hints", "failed-kept", "unit-tests"),
    *("development.json", "development.log"),
    *(f"{REAPER}.json", _HANDED_OVER, f"{_HANDED_OVER}.part"),
}
_PATTERNS = (
    r"worker-\w+\.json",
    r"\w+\.(finished|events)",
    # The second is there until all of the first is written.
    rf".+\.({'|'.join(_STAGES)})\.(json|\d+-\d+)",
    r".+\.(starting|failed|failed-prestart|chosen-by-prestart|not-reattached)",
    r".+\.lost-\d+",
    r"\w+\.peek",
    r"\w+\.(request|answer)(\.part)?",
    r".+\.(lock|done|prebuilt)",
)


class ImpossibleStateError(RuntimeError):
    """A step of a server's life does not follow from what is noted of it: a bug of berth's."""

    def __init__(self, server: Server, step: str, noted: str) -> None:
        super().__init__(
            f"the server {server.key!r} (restart {server.restarts}) cannot be {step}: {noted}."
            " This is a bug of pytest-berth: please report it with this traceback"
        )


class Registry:
    """A run's directory.

    Attributes:
        directory: Its path.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.owner = directory / OWNER
        self.ended = directory / "ended"
        self.put_off = directory / _PUT_OFF
        self.heartbeat = directory / "heartbeat"
        self.reaper_log = directory / f"{REAPER}.log"
        self.reaper = directory / f"{REAPER}.json"
        self.handed_over = directory / _HANDED_OVER
        self.progress = directory / "progress"
        self.usage_error = directory / "usage-error"
        self.hints = directory / "hints"
        self.failed_kept = directory / "failed-kept"
        self.unit_tests = directory / "unit-tests"
        self.development = directory / "development.json"
        self.development_log = directory / "development.log"

    def worker(self, worker: str) -> Path:
        """Return the file that a worker holds as long as it lives."""
        return self.directory / f"worker-{worker}.json"

    def workers(self) -> dict[str, Path]:
        """Return the files that workers hold, by the workers' names."""
        found = self.directory.glob("worker-*.json")
        return {path.stem.removeprefix("worker-"): path for path in found}

    def finished(self, worker: str) -> Path:
        """Return the file that says that a worker has run its tests."""
        return self.directory / f"{worker}.finished"

    def events(self, worker: str) -> Path:
        """Return the file in which a worker hands over what took how long."""
        return self.directory / f"{worker}.events"

    def all_events(self) -> list[Path]:
        """Return the files in which workers have handed that over."""
        return sorted(self.directory.glob("*.events"))

    def peek(self, service: str) -> Path:
        """Return the file that tells where a test can be looked at that a debugger waits in."""
        return self.directory / f"{service}.peek"

    def peeks(self) -> list[Path]:
        """Return all of these files."""
        return sorted(self.directory.glob("*.peek"))

    def request(self, id: str) -> Path:  # noqa: A002
        """Return the file that asks the process of development servers for something."""
        return self.directory / f"{id}.request"

    def requests(self) -> list[Path]:
        """Return all of these files, in the order in which they were written."""
        return sorted(self.directory.glob("*.request"), key=lambda path: path.stat().st_mtime_ns)

    def answer(self, id: str) -> Path:  # noqa: A002
        """Return the file that has the answer to a request."""
        return self.directory / f"{id}.answer"

    def lock(self, work: str) -> Path:
        """Return the file that is locked while work is done, or a server is started."""
        return self.directory / f"{work}.lock"

    def done(self, work: str) -> Path:
        """Return the file that says that work is done, or how it failed."""
        return self.directory / f"{work}.done"

    def number(self, name: str) -> Path:
        """Return the file of a number that all processes add to."""
        return self.directory / f"{name}.number"

    def prebuilt(self, work: str) -> Path:
        """Return the file that says that a prestart has built a template, or tried to."""
        return self.directory / f"{work}.prebuilt"

    def forget_prebuilt(self, key: str) -> None:
        """Forget the templates that prestarts have built on a server."""
        for built in self.directory.glob(f"{key}.*.prebuilt"):
            built.unlink()

    def failure(self, key: str, *, prestart: bool) -> Path:
        """Return the file that holds the error of a server's start, or of its prestart."""
        return self.directory / f"{key}.failed{'-prestart' if prestart else ''}"

    def chosen_by_prestart(self, key: str) -> Path:
        """Return the file that says that a prestart has chosen a server's source."""
        return self.directory / f"{key}.chosen-by-prestart"

    def not_reattached(self, key: str) -> Path:
        """Return the file that says that no earlier run has left such a server."""
        return self.directory / f"{key}.not-reattached"

    def starting(self, key: str) -> Path:
        """Return the file that is there while a server is started, and when that has died."""
        return self.directory / f"{key}.starting"

    def any_starting(self) -> bool:
        """Tell whether a server is being started, or a process has died at it."""
        return any(self.directory.glob("*.starting"))

    def lost(self, server: Server) -> Path:
        """Return the file that says that a server is lost, and why where that is known."""
        return self.directory / _lost(server)

    def is_lost(self, server: Server) -> bool:
        """Tell whether a server is lost."""
        # Each test asks several times: this takes a tenth of what `Path.exists` takes.
        try:
            os.stat(f"{self.directory}{os.sep}{_lost(server)}")  # noqa: PTH116
        except OSError:
            return False
        return True

    def note_planned(self, server: Server) -> None:
        """Note that a server's source and account are settled."""
        self._write("planned", server)

    def note_launched(self, server: Server) -> None:
        """Note that there is something to be stopped.

        Raises:
            ImpossibleStateError: It was not planned.
        """
        self._write("launched", server)

    def note_ready(self, server: Server) -> None:
        """Note that a server answers.

        Raises:
            ImpossibleStateError: It was not launched, or another restart of it was.
        """
        self._write("ready", server)

    def note_lost(self, server: Server, why: str = "") -> None:
        """Note that a server is lost, and why; a reason that is noted already stays without one.

        Raises:
            ImpossibleStateError: No such restart of it was ever launched.
        """
        known = [self.read("launched", server.key), self.read("ready", server.key)]
        latest = max((each.restarts for each in known if each), default=-1)
        if server.restarts > latest and self.directory.exists():
            raise ImpossibleStateError(server, "lost", "it was never launched")
        if why:
            self.lost(server).write_text(why)
        else:
            self.lost(server).touch()

    def read(self, stage: Stage, key: str) -> Server | None:
        """Return the server with this key as it was noted at a stage, None where it was not."""
        path = self._stage(stage, key)
        return _load(path) if path.exists() else None

    def all(self, stage: Stage) -> Iterator[Server]:
        """Yield every server that has reached a stage."""
        for path in sorted(self.directory.glob(f"*.{stage}.json")):
            yield _load(path)

    def launched_files(self) -> dict[str, Path]:
        """Return the files of launched servers, by the servers' keys."""
        suffix = ".launched.json"
        return {path.name.removesuffix(suffix): path for path in self.directory.glob(f"*{suffix}")}

    def forget_launched(self, server: Server) -> None:
        """Note that there is nothing to be stopped any more."""
        self._stage("launched", server.key).unlink(missing_ok=True)

    def forget(self, server: Server) -> None:
        """Remove all notes of a server that is gone, the first step last."""
        for stage in reversed(_STAGES):
            self._stage(stage, server.key).unlink(missing_ok=True)

    def _write(self, stage: Stage, server: Server) -> None:
        """Note that a server has reached a stage; readers see the whole file or none."""
        import dataclasses
        import threading

        self._refuse(stage, server)
        path = self._stage(stage, server.key)
        partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(dataclasses.asdict(server), stream)
        partial.replace(path)

    def _refuse(self, stage: Stage, server: Server) -> None:
        before = _AFTER.get(stage)
        if before is None or not self.directory.exists():
            return
        noted = self.read(before, server.key)
        if noted is None:
            raise ImpossibleStateError(server, stage, f"it was never {before}")
        if stage == "ready" and noted.restarts != server.restarts:
            reason = f"what was {before} is its restart {noted.restarts}"
            raise ImpossibleStateError(server, stage, reason)

    def _stage(self, stage: Stage, key: str) -> Path:
        return self.directory / f"{key}.{stage}.json"


class ReuseRegistry:
    """The directory of the records of a user's servers that stay for later runs.

    Attributes:
        directory: Its path.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reaper_lock = self.lock(REAPER)
        self.reaper_log = directory / f"{REAPER}.log"

    def record(self, name: str) -> Path:
        """Return the file of a record."""
        return self.directory / f"{name}.json"

    def kept_state(self, id: str) -> Path:  # noqa: A002
        """Return the file that tells what stays of a failed test."""
        return self.directory / f"{id}.kept"

    def kept_states(self) -> list[Path]:
        """Return the files that tell what stays of failed tests."""
        return sorted(self.directory.glob("*.kept"))

    def names(self) -> list[str]:
        """Return the names of all records."""
        return sorted(path.stem for path in self.directory.glob("*.json"))

    def lock(self, name: str) -> Path:
        """Return the file that is locked while a record changes, or `REGISTER`, or `REAPER`."""
        return self.directory / f"{name}.lock"


def reuse_directory(place: Path, user: object) -> Path:
    """Return the directory of a user's records in a temporary directory."""
    return place / f"{_REUSE}{user}"


def reuse_directories(place: Path) -> Iterator[Path]:
    """Yield what may be users' directories of records in a temporary directory."""
    yield from place.glob(f"{_REUSE}*")


def make_directory(run_id: str) -> Path:
    """Make a run's directory, for this user only, in the temporary directory."""
    from pytest_berth.sources import owned_directories

    return owned_directories.make(f"{_RUN}{run_id}-")


def run_id(directory: Path) -> str:
    """Return the id of the run that a directory is of, which its name tells."""
    return directory.name.split("-")[1]


def directories(place: Path) -> Iterator[Path]:
    """Yield what may be runs' directories in a temporary directory, in order."""
    for owner in sorted(place.glob(f"{_RUN}*/{OWNER}")):
        yield owner.parent


def without_owner(place: Path) -> Iterator[Path]:
    """Yield the directories of this user's runs that nothing has been written to but the record.

    Such a run is about to write down its owner, or was killed before.
    """
    from pytest_berth.sources import owned_directories

    for record in sorted(place.glob(f"{_RUN}*/{owned_directories.RECORD}")):
        found = record.parent
        is_run = _OF_RUN.fullmatch(found.name) and owned_directories.is_ours(found, _RUN)
        if is_run and owned_directories.is_empty(found):
            yield found


def is_directory(path: Path) -> bool:
    """Tell whether a path is the directory of a run of this user's, in the temporary directory.

    One of a later version, whose format is not known here, is none: it is left to that version.
    """
    from pytest_berth.sources import owned_directories

    is_ours = owned_directories.is_ours(path, _RUN) and (path / OWNER).is_file()
    return is_ours and _has_known_format(path)


def _has_known_format(directory: Path) -> bool:
    """Tell whether a run's directory is of this version's format, or an earlier one's."""
    try:
        _pid, _started, _machine, *number = json.loads((directory / OWNER).read_text())
    except (OSError, ValueError, TypeError):
        return True  # half-written, or gone: nothing can be proved by it
    return not number or number[0] in range(1, FORMAT + 1)


def is_known(name: str) -> bool:
    """Tell whether a file of a run's directory is one that the table names."""
    return name in _NAMES or any(re.fullmatch(pattern, name) for pattern in _PATTERNS)


def load(fields: Mapping[str, Any]) -> Server:
    """Return the server that a mapping describes; fields that are not known are left out.

    Those that had other names up to format 2 are read as well.
    """
    import dataclasses

    from pytest_berth.api import Credentials, Server

    known = {each.name for each in dataclasses.fields(Server)}
    named = {_FORMER.get(name, name): value for name, value in fields.items()}
    given = {name: value for name, value in named.items() if name in known}
    handle = {_FORMER_HANDLE.get(name, name): value for name, value in given["handle"].items()}
    return Server(**{**given, "credentials": Credentials(**given["credentials"]), "handle": handle})


def _lost(server: Server) -> str:
    return f"{server.key}.lost-{server.restarts}"


def _load(path: Path) -> Server:
    return load(json.loads(path.read_text()))
