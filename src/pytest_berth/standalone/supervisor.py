"""The supervisor: the process that owns the run of a project's development servers.

It starts them, opens a namespace on each, notes what others need to use them, and then waits: for
requests, for the end of those who use them, for its own. It is detached from the terminal. The
state that it has found at its start, template and seeds, is what ``reset`` goes back to: in the
words of a test run, the time between two resets is one long test with a clean slate.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from pytest_berth.api import Namespace
from pytest_berth.config import exports
from pytest_berth.config.exports import Export
from pytest_berth.config.options import HTML, JSON, KEEP, KEEP_FAILED
from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import DevelopmentError, nearest
from pytest_berth.file_locks import LockHeldError
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.run.process_identity import Process
from pytest_berth.standalone import development, project
from pytest_berth.standalone.servers import running
from pytest_berth.waiting import now, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_berth.api import Service
    from pytest_berth.standalone.project import Project
    from pytest_berth.standalone.servers import Servers

_LOOK_EVERY = 0.2
# Servers of tests that stay for later runs of tests are theirs: nothing is taken from, or left to,
# them.
_APART = {KEEP: timedelta(), KEEP_FAILED: False, HTML: "", JSON: ""}


class Order(NamedTuple):
    """What a supervisor is started for.

    Attributes:
        name: The name of the servers.
        services: The names of the services.
        directory: The working directory, from which the project is found.
        keep: Seconds that the servers stay when nobody uses them; None for until they are ended.
        starter: The process that has started it: a user as long as it lives.
    """

    name: str
    services: list[str]
    directory: str
    keep: float | None
    starter: list[Any]


class Teller:
    """Tells the process that waits for the servers what is going on, until they are up."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def note(self, text: str) -> None:
        """Tell a line."""
        self.tell({"note": text})

    def update(self, label: str, done: int, total: int | None) -> None:
        """Tell of a download."""
        self.tell({"update": [label, done, total]})

    def phase(self, what: str, text: str) -> None:
        """Tell nothing: lines tell what has been done."""

    def tell(self, told: Mapping[str, object]) -> None:
        """Tell something.

        Raises:
            BrokenPipeError: Nobody waits any more.
        """
        debug("told: %s", told)
        if self._stream:
            print(json.dumps(told), file=self._stream, flush=True)

    def is_up(self, log: Path) -> None:
        """Tell that the servers are up; what is told from now on is in the log."""
        self.tell({"ready": True})
        self._stream = None
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for standard in (1, 2):
            os.dup2(descriptor, standard)
        os.close(descriptor)


class Supervisor:
    """The servers while they are up."""

    def __init__(self, order: Order, found: Project, opened: Servers) -> None:
        self._order = order
        self._found = found
        self._opened = opened
        self._berth = found.config.stash[PLUGIN_STATE]
        self._registry = self._berth.run.registry
        self._keep = order.keep
        self._starter = Process(*order.starter)
        self._used = now()
        self._ended = threading.Event()
        self._slate = ExitStack()
        self._environment = dict(opened.environment)
        self._exports = [[each.variable, each.template] for each in self._berth.exports]

    def serve(self, teller: Teller) -> None:
        """Do what is asked for, until nobody uses the servers any more, or somebody ends them."""
        signal.signal(signal.SIGTERM, lambda *_: self._ended.set())
        self._slate.enter_context(self._opened.isolated())
        self._note()
        teller.is_up(self._registry.development_log)
        while not self._ended.is_set():
            wait_for(self._is_due, float("inf"), max_interval=_LOOK_EVERY)
            for path in self._registry.requests():
                self._answer(path)
            if self._is_unused():
                self._give_up()

    def _give_up(self) -> None:
        """End, unless somebody is about to use the servers."""
        with (
            ignoring(LockHeldError, why="somebody is about to use the servers"),
            development.lock(self._found.root, self._order.name),
        ):
            if self._is_unused():
                self._end()

    def _end(self) -> None:
        """Let nobody find the servers any more."""
        self._registry.development.unlink(missing_ok=True)
        self._ended.set()

    def _is_due(self) -> bool:
        return self._ended.is_set() or bool(self._registry.requests()) or self._is_unused()

    def _is_unused(self) -> bool:
        """Tell whether nobody has used the servers for as long as they stay without."""
        if self._keep is None:
            return False
        if not self._starter.is_gone() or self._berth.run.live_workers():
            self._used = now()
            return False
        return now() - self._used >= self._keep

    def _answer(self, path: Path) -> None:
        try:
            told = self._do(json.loads(path.read_text("utf-8")))
        except Exception as error:  # told to who has asked
            debug("%s: %r", path.name, error)
            told = development.of_error(error)
        path.unlink()
        development.write(self._registry.answer(path.stem), told)

    def _do(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked for, and return what is told of it."""
        if asked["what"] == "end":
            self._end()
        elif asked["what"] == "keep":
            self._keep = asked["seconds"]
            self._note()
        elif asked["what"] == "reset":
            self._reset()
        elif asked["what"] == "seed":
            self._opened[asked["service"]].namespace.seed(asked["lines"])
        elif asked["what"] == "export":
            self._export(asked["lines"])
            return {"environment": self._environment}
        elif asked["what"] == "render":
            return {"text": self._render(asked["text"])}
        else:
            raise DevelopmentError(
                f"the development servers cannot {asked['what']}.",
                why="another version of pytest-berth has started them",
                remedy="pytest-berth down; pytest-berth up",
            )
        return {}

    def _export(self, lines: Sequence[Sequence[str]]) -> None:
        """Make the environment anew: the project's file has changed meanwhile."""
        made = [Export.of(variable, text, "berth_export") for variable, text in lines]
        values = self._values()
        ours = {name for each in self._services() for name in each.placeholders}
        for each in made:
            unknown = sorted((each.placeholders & ours) - values.keys())
            if unknown:
                raise _not_there(unknown[0])
        self._environment = exports.render(made, values)
        self._exports = [list(each) for each in lines]
        self._note()

    def _render(self, text: str) -> str:
        made, values = Export.of("", text, "the command line"), self._values()
        unknown = sorted(made.placeholders - values.keys())
        if unknown:
            raise _not_there(unknown[0], nearest(unknown[0], values))
        return made.render(values)

    def _values(self) -> Mapping[str, object]:
        """Return what ``berth_export`` may use, as it takes formats."""
        return {name: text for each in self._opened.values() for name, text in each.values.items()}

    def _services(self) -> list[Service]:
        return [each for each in self._found.services if each.name in self._opened]

    def _reset(self) -> None:
        """Put back what was there at the start; a server that was lost is made anew."""
        slate, self._slate = self._slate, ExitStack()
        try:
            slate.close()
        finally:
            self._slate.enter_context(self._opened.isolated())

    def _note(self) -> None:
        """Note what others need to use the servers."""
        services = {
            name: {
                "key": each.server.server.key,
                "url": each.url,
                "shell": each.namespace.shell_name(),
                "seeds": _takes_seeds(each.namespace),
            }
            for name, each in self._opened.items()
        }
        told = {
            "project": str(self._found.root),
            "name": self._order.name,
            "environment": self._environment,
            "exports": self._exports,
            "services": services,
            "values": {name: str(text) for name, text in self._values().items()},
            "keep": self._keep,
        }
        development.write(self._registry.development, told)


def _not_there(name: str, hint: str = "") -> DevelopmentError:
    return DevelopmentError(
        f"the development servers have no value for {{{name}}}.",
        why="it was not known when they were started, or its service is not among them",
        remedy=hint or "pytest-berth down; pytest-berth up",
    )


def _takes_seeds(namespace: Namespace) -> bool:
    return type(namespace).seed is not Namespace.seed


def main(argument: str) -> None:
    """Start the servers, and end when they do.

    Args:
        argument: The `Order`, as JSON.
    """
    order, teller = Order(**json.loads(argument)), Teller(sys.stdout)
    try:
        os.chdir(order.directory)
        found = project.find()
        found.require_sound()
        fixed = {option.name: value for option, value in _APART.items()}
        with running(found, found.named(order.services), teller, fixed) as opened:
            Supervisor(order, found, opened).serve(teller)
            # With their servers, databases are gone: nothing is put back in them before.
            found.config.stash[PLUGIN_STATE].end()
            os._exit(0)
    except BrokenPipeError:
        sys.exit(1)  # who has started it has gone, and what was started is undone
    except Exception as error:  # told to who has started it
        teller.tell(development.of_error(error))
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
