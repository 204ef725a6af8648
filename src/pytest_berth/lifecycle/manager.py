"""Starts each server once per run, shares it among the run's processes, stops it at the end."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_berth.errors import BerthError, NoSourceError, StartError
from pytest_berth.lifecycle import janitor, scopes
from pytest_berth.lifecycle.leases import Leases
from pytest_berth.lifecycle.once import once, raise_remembered, remember
from pytest_berth.lifecycle.readiness import wait_until_ready
from pytest_berth.service import key
from pytest_berth.sources.choose import choose, sources
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from filelock import FileLock

    from pytest_berth.lifecycle.run import Run
    from pytest_berth.service import Progress, Server, Service, Source
    from pytest_berth.settings import Settings

_WORKERS_END_WITHIN = 3600.0


@dataclass
class Manager:
    """The servers of a run, as one process sees them."""

    run: Run
    settings: Settings
    services: Sequence[Service]
    progress: Progress
    first_marks: dict[str, float] = field(default_factory=dict)
    _servers: dict[str, Server] = field(default_factory=dict)
    _ended: list[Server] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @cached_property
    def leases(self) -> Leases:
        """The leases in the run's directory."""
        return Leases(self.run.directory)

    @cached_property
    def candidates(self) -> tuple[Source, ...]:
        """The sources, kept so that an engine is connected to once."""
        return sources(self.settings, self.run.id)

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers that this process uses."""
        return tuple(self._servers.values())

    @property
    def known(self) -> tuple[Server, ...]:
        """The servers that this process uses or has used."""
        return (*self.servers, *self._ended)

    def plan(self, service: Service) -> Server:
        """Settle source, address and account of the server, if possible without starting it."""
        self._guard()
        name = self._key(service)
        with self._lock, self._file_lock(name):
            planned = self._plan(service, name, fixed=True)
            if service.claims and planned.source == "external":
                self.leases.write("launched", planned)
        return planned if planned.host else self.server(service)

    def server(self, service: Service, slot: str | None = None) -> Server:
        """Return a server of the service, started if this run has not started it yet.

        Args:
            service: The service.
            slot: Whose own server it is; left out for the one that this worker shares.

        Raises:
            NoSourceError: No source can serve.
            StartError: It did not become ready.
        """
        name = self._key(service) if slot is None else key(service.name, slot)
        with self._lock:
            if name not in self._servers:
                self._guard()
                with self._file_lock(name):
                    server = self.leases.read("ready", name) or self._start(service, name)
                    self.first_marks[name] = self.source(server).mark(server)
                    self._servers[name] = server
            return self._servers[name]

    def end(self, server: Server) -> None:
        """Stop a server that nobody shares, before the run ends."""
        self.source(server).stop(server)
        self.leases.forget(server)
        self._ended.append(self._servers.pop(server.key))

    def source(self, server: Server) -> Source:
        """Return the source that the server came from."""
        return self._source(server.source)

    def stop(self) -> None:
        """Stop every server that this run has started, and forget the run; may be called twice."""
        if not (self.run.is_owner and self.run.has_directory):
            return
        for server in self.leases.all("launched"):
            try:
                self._clean_up(server)
            except Exception as error:  # told, and the others still go
                self.progress.note(f"{server.service} could not be cleaned up: {error}")
        self.run.remove()

    def sweep(self) -> None:
        """Remove everything that a run has left whose owner is gone."""
        self.run.end()
        self._sweep()
        # Workers outlive their controller until their test ends, and may be starting a server.
        wait_for(
            lambda: not self.run.live_workers(), _WORKERS_END_WITHIN, message="the workers' end"
        )
        self._sweep()
        self.run.remove()

    def _sweep(self) -> None:
        for server in self.leases.all("launched"):
            self._clean_up(server)
        for name in {server.source for server in self.leases.all("planned")}:
            self._source(name).sweep()

    def _guard(self) -> None:
        """Start the run's janitor before there is anything that it may have to remove."""
        once(self.run.directory, "janitor", lambda: janitor.start(self.run.directory))

    def _clean_up(self, server: Server) -> None:
        if server.source == "external":
            service = self._service(server)
            if service.claims or self.leases.read("ready", server.key):
                service.release(server, self.run.id)
        self.source(server).stop(server)

    def _key(self, service: Service) -> str:
        return key(service.name, scopes.slot(service, self.settings, self.run.worker))

    def _source(self, name: str) -> Source:
        (source,) = (candidate for candidate in self.candidates if candidate.name == name)
        return source

    def _service(self, server: Server) -> Service:
        (service,) = (known for known in self.services if known.name == server.service)
        return service

    def _plan(self, service: Service, name: str, *, fixed: bool = False) -> Server:
        planned = self.leases.read("planned", name)
        if planned is None:
            source, reason = choose(service, self.settings, self.candidates, self.progress)
            planned = source.plan(service, service.credentials(), fixed=fixed)
            slot = name[len(service.name) + 1 :]
            if slot and source.name == "external":
                raise _cannot_be_own(service, reason)
            planned = dataclasses.replace(planned, reason=reason, slot=slot)
            self.leases.write("planned", planned)
        return planned

    def _start(self, service: Service, name: str) -> Server:
        raise_remembered(self._failure(name))
        try:
            return self._launch(service, name)
        except BerthError as error:
            _add_reason(error, self.leases.read("planned", name))
            # The other workers are spared a failure that they would have to wait for.
            remember(self._failure(name), error)
            raise

    def _launch(self, service: Service, name: str) -> Server:
        plan = self._plan(service, name)
        source = self.source(plan)
        began = time.monotonic()
        launched = source.start(service, plan, self.progress)
        try:
            self.leases.write("launched", launched)
            _refuse_after_the_end(self.run)
        except BaseException:
            source.stop(launched)
            raise
        version = wait_until_ready(service, source, launched, self.settings, self.progress)
        took = time.monotonic() - began
        ready = dataclasses.replace(launched, version=version, started_in=took)
        self.leases.write("ready", ready)
        if name == self._key(service):  # a server of one test's own is not worth a line
            self.progress.note(str(ready))
        return ready

    def _failure(self, name: str) -> Path:
        return self.run.directory / f"{name}.failed"

    def _file_lock(self, name: str) -> FileLock:
        from filelock import FileLock

        return FileLock(self.run.directory / f"{name}.lock")


def _cannot_be_own(service: Service, reason: str) -> NoSourceError:
    return NoSourceError(
        f"{service.name} at a given URL is shared: no worker or test can have it for itself.",
        why=f"a server of its own is asked for (scope), and {reason}",
        remedy=f"berth_{service.prefix}_source = container (or local) starts servers here;"
        " berth_missing = skip skips such tests",
    )


def _refuse_after_the_end(run: Run) -> None:
    if run.has_ended:
        raise StartError(
            "the run has ended while a server was being started.",
            why="the process that owns the run is gone",
            remedy="run pytest again",
        )


def _add_reason(error: BerthError, plan: Server | None) -> None:
    """Say in an error why its source was taken: another one might be easier to mend."""
    if plan and plan.reason:
        taken = f"the source {plan.source!r} was taken: {plan.reason}"
        error.why = "\n".join(filter(None, [error.why, taken]))
