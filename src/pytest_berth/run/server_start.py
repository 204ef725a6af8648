"""Starts a server: settles its source, launches it, waits until it answers, or undoes all that."""

from __future__ import annotations

import dataclasses
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.debug_log import debug
from pytest_berth.errors import BerthError, NoSourceError, RunEndedError, StartError
from pytest_berth.run.readiness import wait_until_ready
from pytest_berth.sources import snapshots
from pytest_berth.sources.choose import Sources, choose
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pytest_berth.api import Progress, Server, Service, Source
    from pytest_berth.config.options import Settings
    from pytest_berth.run.registry import Registry
    from pytest_berth.run.reuse.handover import Reuse
    from pytest_berth.run.run import Run
    from pytest_berth.run.timeline import What


@dataclass
class Starter:
    """What starts the servers of a run; who calls it holds the lock of the server's name."""

    run: Run
    settings: Settings
    progress: Progress
    candidates: Sources
    registry: Registry
    reuse: Reuse
    given_up: threading.Event = field(default_factory=threading.Event)
    at_launch: dict[str, Callable[[], None]] = field(default_factory=dict)

    def source(self, name: str) -> Source:
        """Return the source of a name."""
        return self.candidates[name]

    def plan(self, service: Service, name: str, *, fixed: bool = False) -> Server:
        """Settle source and account of a server, once; if *fixed*, its address too."""
        planned = self.registry.read("planned", name) or self.reattach(service, name)
        if planned is None:
            with self.telling(service) as progress, self._measured("choose", service):
                source, reason = choose(service, self.settings, self.candidates, progress)
            planned = source.plan(service, service.backend.account(self.settings), fixed=fixed)
            slot = name[len(service.name) + 1 :]
            if slot and source.name == "external":
                raise _cannot_be_dedicated(service, reason)
            planned = dataclasses.replace(planned, reason=reason, slot=slot)
            self.registry.note_planned(planned)
            place = planned.host, planned.port
            debug("%s: planned from %s (%s), host %r, port %s", name, source.name, reason, *place)
        return planned

    def reattach(self, service: Service, name: str) -> Server | None:
        """Take over the server that an earlier run has left, if there is one; asked once only."""
        asked = self.registry.not_reattached(name)
        if name != service.name or not self.reuse.is_wanted(service) or asked.exists():
            return None
        began = self.run.timeline.now()
        server = self.reuse.reattach(service)
        if server is None:
            asked.touch()
            return None
        self.run.timeline.add("reattach", service.name, began, detail="an earlier run's")
        self.registry.note_planned(server)
        self.registry.note_launched(server)
        self.registry.note_ready(server)
        self.progress.note(str(server))
        return server

    def start(
        self, service: Service, name: str, beside: Mapping[str, Server] | None = None
    ) -> Server:
        """Launch the server, and return it when it answers; or return the one taken over.

        Args:
            service: The service.
            name: The server's key.
            beside: The servers that it depends on, by the names under which it finds them.

        Raises:
            NoSourceError: No source can serve.
            RunEndedError: The run ended meanwhile; nothing of the server is left.
            StartError: It did not become ready; nothing of it is left.
        """
        plan = self.plan(service, name)
        ready = self.registry.read("ready", name)
        return ready or self.launch(service, self.beside(service, plan, beside or {}))

    def beside(self, service: Service, plan: Server, others: Mapping[str, Server]) -> Server:
        """Return a plan that says which servers the new one is to find on a network.

        Raises:
            NoSourceError: One of them is not in a container, and cannot be found there.
        """
        for name, other in others.items():
            if other.source != "container":
                option = service.depends_on[name].source.name
                raise NoSourceError(
                    f"{plan.service} depends on {other.service}, which is not in a container.",
                    why=f"it comes from the source {other.source!r}: {other.reason}",
                    remedy=f"berth_source = container, or {option} = container",
                )
        found = {name: [each.key, each.handle["container"]] for name, each in others.items()}
        return dataclasses.replace(plan, handle={"beside": found}) if found else plan

    def launch(self, service: Service, plan: Server) -> Server:
        """Launch a server as it is planned, and return it when it answers.

        Raises:
            RunEndedError: The run ended meanwhile; nothing of the server is left.
            StartError: It did not become ready; nothing of it is left.
        """
        source = self.source(plan.source)
        marker = self.registry.starting(plan.key)
        if marker.exists():
            # A process of this run died while it was at it.
            source.clear(plan)
        marker.touch()
        try:
            ready = self._launch(service, source, plan)
        except BerthError:
            marker.unlink()  # all is undone
            raise
        ready = self.reuse.publish(service, ready)
        if ready.reuse_record:
            self.registry.note_launched(ready)
        self.registry.note_ready(ready)
        marker.unlink()
        return ready

    def stop(self, server: Server) -> None:
        """Stop a server, so that nobody can take it over any more."""
        debug("%s: stopped", server.key)
        self.source(server.source).stop(server)
        self.reuse.forget(server)

    @contextmanager
    def telling(self, service: Service) -> Iterator[Progress]:
        """Yield what a source tells of a service while it looks for its parts, or starts it."""
        timeline = self.run.timeline
        progress = _Telling(self.progress, timeline.now, self.refuse_after_the_end)
        try:
            yield progress
        finally:
            progress.end_bars()
            for label, (start, end) in progress.downloads.items():
                timeline.add("download", service.name, start, end=end, detail=label)

    def refuse_after_the_end(self) -> None:
        """Raise an error where nobody waits for a server any more.

        Raises:
            RunEndedError: So it is.
        """
        if self.given_up.is_set() or self.run.has_ended:
            raise RunEndedError

    def _measured(
        self, what: What, service: Service, detail: str = ""
    ) -> AbstractContextManager[None]:
        return self.run.timeline.measured(what, service.name, detail=detail)

    def _launch(self, service: Service, source: Source, plan: Server) -> Server:
        """Launch the server and wait for it; where a snapshot is of no use, without it."""
        began = now()
        self.refuse_after_the_end()
        whose = f"{source.name}, of {plan.slot} alone" if plan.slot else source.name
        with self._measured("start", service, whose):
            try:
                ready = self._launch_and_wait(service, source, plan)
            finally:
                self.progress.phase(plan.key, "")
        return dataclasses.replace(ready, started_in=now() - began)

    def _launch_and_wait(self, service: Service, source: Source, plan: Server) -> Server:
        launched = self._launched(service, source, plan)
        try:
            return self._until_ready(service, source, launched)
        except StartError as error:
            if not launched.from_snapshot or isinstance(error, RunEndedError):
                raise
            source.forget_snapshot(launched)
            self.progress.note(
                f"{service.name}: its snapshot is of no use, and is removed: {error.what}"
            )
            return self._until_ready(service, source, self._launched(service, source, plan))

    def _launched(self, service: Service, source: Source, plan: Server) -> Server:
        self.progress.phase(plan.key, f"starting ({source.name})")
        self.at_launch.pop(plan.key, lambda: None)()
        with self.telling(service) as progress, self._measured("launch", service, plan.key):
            launched = source.start(service, plan, progress)
        how = "from a snapshot" if launched.from_snapshot else "initialised anew"
        stored = launched.snapshot or "it will not be stored"
        debug("%s: launched: %s, %s (snapshot: %s)", plan.key, launched.detail, how, stored)
        return launched

    def _until_ready(self, service: Service, source: Source, launched: Server) -> Server:
        try:
            self.registry.note_launched(launched)
            # While the server starts, there is time.
            if source.name == "container":
                from pytest_berth.run import orphans

                orphans.sweep(source, self.run, self.progress)
            return dataclasses.replace(launched, version=self._wait(service, source, launched))
        except BaseException:
            source.stop(launched)
            if source.name != "external":
                self.registry.forget_launched(launched)
            raise

    def _wait(self, service: Service, source: Source, launched: Server) -> str:
        """Wait until the server answers, and give one from a snapshot this run's password."""
        server = launched
        if launched.from_snapshot:
            secret = snapshots.password(self.settings, service)
            server = snapshots.locked(launched, secret)
        with self._measured("answer", service, launched.key):
            version = wait_until_ready(
                service, source, server, self.settings, self.progress, self.refuse_after_the_end
            )
        if launched.from_snapshot:
            service.backend.set_password(server, launched.credentials.password)
        return version


class _Telling:
    """What a source tells while it is at one service; it ends a download that nobody waits for.

    Attributes:
        downloads: When each download began and ended, by its label.
    """

    def __init__(
        self, progress: Progress, clock: Callable[[], float], go_on: Callable[[], None]
    ) -> None:
        self.downloads: dict[str, tuple[float, float]] = {}
        self._progress = progress
        self._clock = clock
        self._go_on = go_on
        self._bars: dict[str, int] = {}

    def note(self, text: str) -> None:
        """Print a line."""
        self._progress.note(text)

    def update(self, label: str, done: int, total: int | None) -> None:
        """Tell of a download.

        Raises:
            RunEndedError: Nobody waits for it any more.
        """
        self._go_on()
        at = self._clock()
        self.downloads[label] = self.downloads.get(label, (at, at))[0], at
        self._bars.pop(label, None)
        if done != total:
            self._bars[label] = done
        self._progress.update(label, done, total)

    def phase(self, what: str, text: str) -> None:
        """Show what is being done."""
        self._progress.phase(what, text)

    def end_bars(self) -> None:
        """End what was not downloaded to its end, or has told of no end."""
        for label, done in self._bars.items():
            self._progress.update(label, done, done)


def _cannot_be_dedicated(service: Service, reason: str) -> NoSourceError:
    return NoSourceError(
        f"{service.name} at a given URL is shared: no worker or test can have it for itself.",
        why=f"a server of its own is asked for (scope), and {reason}",
        remedy=f"berth_{service.prefix}_source = container (or local) starts servers here;"
        " berth_missing = skip skips such tests",
    )
