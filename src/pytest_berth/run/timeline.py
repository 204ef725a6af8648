"""What took how long in a run, in which of its processes: for the summary, and for reports.

Each process notes its own events, in memory. xdist's workers write theirs into the run's directory,
some hundred at a time and the rest at the end of their tests; the run's owner reads them when all
workers have ended (`Timeline.collect`).
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from pytest_berth import debug_log
from pytest_berth.waiting import wall_clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_berth.run.registry import Registry

# A server: `start` is the whole of it, `choose`, `download`, `launch` and `answer` are its parts;
# `reattach` takes over that of an earlier run. Its databases: `template` is the whole of schema and
# seeds, `step` a line of them; `clone` makes a worker's database, `rebuild` another in its place.
# A test: `set up` and `clean up` are the two ends of its isolation by one service.
# The others take no time: a test or fixture has changed the `schema`, and what it created is
# dropped again; somebody else than berth was first seen to `connect`; a test was `read only`, as it
# has asked for a fixture that commits, and has written nothing.
What: TypeAlias = Literal[
    "start",
    "choose",
    "download",
    "launch",
    "answer",
    "reattach",
    "template",
    "step",
    "clone",
    "rebuild",
    "schema",
    "connect",
    "read only",
    "set up",
    "clean up",
]

_AT_ONCE = 500


class Event(NamedTuple):
    """Something that took time.

    Attributes:
        what: Which kind of thing.
        service: Name of the service that it was for.
        worker: Name of the process: ``"main"``, or xdist's, ``"gw0"``.
        start: Seconds since the run began.
        end: Likewise.
        test: The id of the test that it was for; empty where it was for none, or that is not known.
        detail: What is to be told of it: the source of a server, the line of a schema, the kind of
            an isolation, why a database was rebuilt.
        items: What it was about, each by name: the tables that a clean-up has put back; of a
            set-up, those that were put back since the last test, of fixtures of a wider scope.
        failed: Whether it ended by an error.
    """

    what: What
    service: str
    worker: str
    start: float
    end: float
    test: str = ""
    detail: str = ""
    items: Sequence[str] = ()
    failed: bool = False

    def __str__(self) -> str:
        """Return the line of the debug log."""
        parts = [f"{self.service}: {self.what}", "failed, and took" if self.failed else "took"]
        parts += [f"{self.took:.3f} s", f"({self.detail})" if self.detail else ""]
        parts += [f"for {self.test}" if self.test else ""]
        told = " ".join(filter(None, parts))
        return f"{told}: {', '.join(self.items)}" if self.items else told

    @property
    def took(self) -> float:
        """How many seconds it took."""
        return self.end - self.start


class Timeline:
    """The events of a run, as far as this process knows them.

    Args:
        worker: Name of this process in the run.
        began: When the run began, in seconds since the epoch.
        registry: Where the events are handed over; None in the run's owner, which keeps them.

    Attributes:
        events: This process's own; after `collect` those of all, in the order of their start.
    """

    def __init__(self, worker: str, began: float, registry: Registry | None) -> None:
        self.events: list[Event] = []
        self._worker = worker
        self._began = began
        self._registry = registry

    def now(self) -> float:
        """Return the seconds since the run began."""
        return wall_clock() - self._began

    def add(
        self,
        what: What,
        service: str,
        start: float,
        *,
        end: float | None = None,
        test: str = "",
        detail: str = "",
        items: Sequence[str] = (),
        failed: bool = False,
    ) -> None:
        """Note that something began at *start*, and ended at *end*: now, where that is left out."""
        end = self.now() if end is None else end
        event = Event(what, service, self._worker, start, end, test, detail, items, failed)
        self.events.append(event)
        # The first connection is a test's own, which may look at all that is logged meanwhile.
        if what != "connect" and debug_log.is_on():
            debug_log.debug("%s", event)
        if len(self.events) >= _AT_ONCE:
            self.hand_over()

    @contextmanager
    def measured(
        self, what: What, service: str, *, test: str = "", detail: str = ""
    ) -> Iterator[None]:
        """Note how long the block takes, also where it fails."""
        start, failed = self.now(), True
        try:
            yield
            failed = False
        finally:
            self.add(what, service, start, test=test, detail=detail, failed=failed)

    def hand_over(self) -> None:
        """Write a worker's events for the run's owner, and forget them."""
        if self._registry is None or not self._registry.directory.exists():
            return
        given, self.events = self.events, []
        with self._registry.events(self._worker).open("a", encoding="utf-8") as stream:
            stream.writelines(f"{json.dumps(event)}\n" for event in given)

    def collect(self, registry: Registry) -> None:
        """Take over the events that the workers have handed over; what is read is removed."""
        for path in registry.all_events():
            for line in path.read_text("utf-8").splitlines():
                self.events.append(Event(*json.loads(line)))
            path.unlink()
        self.events.sort(key=lambda event: event.start)
