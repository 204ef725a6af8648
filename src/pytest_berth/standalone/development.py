"""Development servers: servers that stay up for a project, beside and apart from its runs of tests.

They are a run of their own, whose owner is a supervisor, a process that outlives the command which
has started it: see `supervisor`. While it lives, its run is alive to all others, which so take
nothing of it for a dead run's; when it is killed, its reaper removes all that it has started. What
there is, the supervisor notes in its run's directory, where commands read it; what is to be done,
they ask it for by a file there.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import debug
from pytest_berth.errors import BerthError, DevelopmentError
from pytest_berth.run import heartbeat, process_identity, registry, run
from pytest_berth.run.registry import Registry
from pytest_berth.run.reuse import records
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pytest_berth.api import Progress, Server, Service
    from pytest_berth.standalone.project import Project

NAME = "default"
_USER = "user"
STARTED_WITHIN = 3600.0
_DONE_WITHIN = 120.0


@dataclass(frozen=True)
class Development:
    """The development servers of a project that are up.

    Attributes:
        directory: The directory of their run.
        project: The project's directory.
        name: Their name: a project may have several.
        environment: What ``berth_export`` sets.
        services: By the names of the services, what is told of each: ``key``, ``url``, ``shell``,
            ``seeds``.
        values: What ``berth_export`` may use, by the placeholder's name.
        keep: Seconds that they stay when nobody uses them; None where they stay until `end`.
        exports: The lines of ``berth_export`` that the environment was made of: names and texts.
    """

    directory: Path
    project: str
    name: str
    environment: Mapping[str, str] = field(repr=False)
    services: Mapping[str, Mapping[str, Any]] = field(repr=False)
    values: Mapping[str, str] = field(repr=False)
    keep: float | None
    exports: Sequence[Sequence[str]] = ()

    @property
    def is_up(self) -> bool:
        """Whether the supervisor lives."""
        owner = Registry(self.directory).owner
        return owner.exists() and not heartbeat.has_ended(owner)

    @property
    def users(self) -> list[str]:
        """The process ids of the programs that use them, by `join`."""
        return [worker.removeprefix(_USER) for worker in run.resume(self.directory).live_workers()]

    def told(self, service: Service) -> Mapping[str, Any]:
        """Return what is told of a service.

        Raises:
            DevelopmentError: It is not among them.
        """
        if service.name not in self.services:
            raise self._without([service.name])
        return self.services[service.name]

    def server(self, service: Service) -> Server:
        """Return the server of a service.

        Raises:
            DevelopmentError: It is not among them.
        """
        found = Registry(self.directory).read("ready", self.told(service)["key"])
        if found is None:
            raise self._not_up()
        return found

    def require(self, services: Sequence[Service]) -> None:
        """Refuse to go on with servers that lack one of these.

        Raises:
            DevelopmentError: So they do.
        """
        missing = [each.name for each in services if each.name not in self.services]
        if missing:
            raise self._without(missing)

    def join(self) -> None:
        """Use them as long as this process lives, also when another program takes it over."""
        worker = f"{_USER}{os.getpid()}"
        run.Run(registry.run_id(self.directory), worker, self.directory).join()

    def following(self, found: Project) -> Development:
        """Return them with the environment that ``berth_export`` sets by now.

        Raises:
            SettingsError: A line of it is wrong.
            DevelopmentError: It needs what was not there when they were started.
        """
        lines = [[each.variable, each.template] for each in found.exports()]
        if lines == [list(each) for each in self.exports]:
            return self
        told = self.ask("export", lines=lines)
        return replace(self, environment=told["environment"], exports=lines)

    def render(self, text: str) -> str:
        """Return a text with the values of its placeholders: ``{mail_port:smtp}``.

        Raises:
            DevelopmentError: There is no such placeholder, or it takes no such format.
        """
        return str(self.ask("render", text=text)["text"])

    def ask(
        self, what: str, *, within: float = _DONE_WITHIN, **further: object
    ) -> Mapping[str, Any]:
        """Have the supervisor do something, wait until it is done, and return what it tells.

        Args:
            what: What it is: ``"reset"``.
            within: Seconds that it may take.
            further: What it is to be done with.

        Raises:
            DevelopmentError: It could not be done, or nobody answers.
        """
        there, number = Registry(self.directory), os.urandom(4).hex()
        path, answer = there.request(number), there.answer(number)
        write(path, {"what": what, **further})
        try:
            wait_for(lambda: answer.exists() or not self.is_up, within)
        except TimeoutError:
            raise DevelopmentError(
                f"the development servers did not answer within {within:.0f} s.",
                why=f"their supervisor is the process {self._pid()}; its log: "
                f"{there.development_log}",
                remedy=f"look at it, or end it: kill {self._pid()}",
            ) from None
        if not answer.exists():
            raise self._not_up()
        told: Mapping[str, Any] = json.loads(answer.read_text("utf-8"))
        raise_told(told)
        return told

    def end(self) -> None:
        """End them, and wait until nothing of them is left.

        Raises:
            DevelopmentError: Nobody answers.
        """
        self.ask("end")
        wait_for(lambda: not self.directory.exists(), _DONE_WITHIN, message="the servers' end")

    def _pid(self) -> int:
        owner = process_identity.read(Registry(self.directory).owner)
        return owner.pid if owner else 0

    def _not_up(self) -> DevelopmentError:
        return none_up(self.project, self.name)

    def _without(self, names: Sequence[str]) -> DevelopmentError:
        return DevelopmentError(
            f"the development servers do not have {', '.join(names)}.",
            why=f"they have {', '.join(self.services)}",
            remedy=f"pytest-berth down{option(self.name)}; then name all of them, or none",
        )


def of_user() -> Iterator[Development]:
    """Yield the development servers of this user that are up."""
    for directory in registry.directories(Path(tempfile.gettempdir())):
        path = Registry(directory).development
        if registry.is_directory(directory) and path.exists():
            try:
                told = json.loads(path.read_text("utf-8"))
                found = Development(directory, **told)
            except (OSError, ValueError, TypeError) as error:
                debug("%s: gone, or of another version: %r", path, error)
                continue
            if found.is_up:
                yield found


def find(root: Path, name: str = NAME) -> Development:
    """Return the development servers of a project.

    Raises:
        DevelopmentError: None are up.
    """
    found = _find(root, name)
    if found is None:
        raise none_up(str(root), name)
    return found


def ensure(
    found: Project,
    services: Sequence[Service],
    progress: Progress,
    *,
    name: str = NAME,
    keep: float | None = None,
    joins: bool = False,
) -> Development:
    """Return the development servers of a project, started where they are not up.

    Args:
        found: The project.
        services: What they have to have.
        progress: Told of starts and downloads.
        name: Their name.
        keep: Seconds that they stay when nobody uses them; None for until `Development.end`.
        joins: Whether this process uses them from now on: see `Development.join`.

    Raises:
        DevelopmentError: They are up, and lack one of the services; or they could not be started.
    """
    with lock(found.root, name, within=STARTED_WITHIN):
        there = _find(found.root, name)
        if there is None:
            there = _start(found, services, progress, name, keep)
        else:
            there.require(services)
            if keep is None and there.keep is not None:
                there.ask("keep", seconds=None)
        if joins:
            there.join()
        return there.following(found)


def lock(root: Path, name: str, *, within: float = 0.0) -> AbstractContextManager[None]:
    """Hold the lock under which development servers are started, joined, and given up.

    Args:
        root: The project's directory.
        name: Their name.
        within: Seconds to wait for it.

    Raises:
        LockHeldError: Another process holds it.
    """
    digest = hashlib.sha256(json.dumps([str(root), name]).encode()).hexdigest()[:16]
    return records.of_user().lock(f"development-{digest}", within=within)


def none_up(project: str, name: str) -> DevelopmentError:
    """Return the error that a project has no development servers."""
    return DevelopmentError(
        "no development servers are up for this project.",
        why=f"{project}, name {name!r}",
        remedy=f"pytest-berth up{option(name)}",
    )


def option(name: str) -> str:
    """Return the option of a command that means these servers; nothing for the usual name."""
    return "" if name == NAME else f" --name {name}"


def write(path: Path, told: Mapping[str, object]) -> None:
    """Write a file for this user only; readers see all of it or nothing."""
    partial = path.with_name(f"{path.name}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(told, stream)
    partial.replace(path)


def raise_told(told: Mapping[str, Any]) -> None:
    """Raise the error that the supervisor tells of, if it does.

    Raises:
        DevelopmentError: So it does.
    """
    error = told.get("error")
    if error:
        raise DevelopmentError(error["what"], why=error["why"], remedy=error["remedy"])


def of_error(error: Exception) -> dict[str, dict[str, str]]:
    """Return what is told of an error to another process."""
    if isinstance(error, BerthError):
        what, why, remedy = error.what, error.why, error.remedy
    else:
        what, why, remedy = f"{type(error).__name__}: {error}", "", ""
    return {"error": {"what": what, "why": why, "remedy": remedy}}


def _find(root: Path, name: str) -> Development | None:
    ours = (each for each in of_user() if (each.project, each.name) == (str(root), name))
    return next(ours, None)


def _start(
    found: Project,
    services: Sequence[Service],
    progress: Progress,
    name: str,
    keep: float | None,
) -> Development:
    """Start a supervisor, pass on what it tells, and return when all servers are up."""
    order = {
        "name": name,
        "services": [each.name for each in services],
        "directory": str(Path.cwd()),
        "keep": keep,
        "starter": process_identity.this_process(),
    }
    # Elsewhere than in the project, whose modules Python would find first.
    with subprocess.Popen(
        [sys.executable, "-m", "pytest_berth.standalone.supervisor", json.dumps(order)],
        cwd=os.sep,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told = _message(line)
            if "ready" in told:
                process.returncode = 0  # it is not waited for
                break
            raise_told(told)
            if "note" in told:
                progress.note(told["note"])
            elif "update" in told:
                progress.update(*told["update"])
    there = _find(found.root, name)
    if there is None:
        raise DevelopmentError(
            "the development servers have ended while they were started.",
            why="their supervisor has told nothing of it",
            remedy="run it again; `pytest-berth doctor` looks at this machine",
        )
    return there


def _message(line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        return {"note": line.rstrip()}  # a warning of some package
    return told if isinstance(told, dict) else {"note": line.rstrip()}
