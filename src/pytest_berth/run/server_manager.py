"""Starts each server once per run, shares it among the run's processes, stops it at the end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pytest_berth.api import key
from pytest_berth.collection import server_scopes
from pytest_berth.debug_log import debug
from pytest_berth.errors import BerthError, RunEndedError, TimedOutError
from pytest_berth.run import hand_over, reaper
from pytest_berth.run.once_per_run import lock, once, raise_remembered, remember
from pytest_berth.run.registry import REAPER
from pytest_berth.run.reuse.handover import Reuse
from pytest_berth.run.server_start import Starter
from pytest_berth.sources import ports, snapshots
from pytest_berth.sources.choose import FALLBACK, Sources, choose
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_berth.api import Progress, Server, Service, Source
    from pytest_berth.config.options import Settings
    from pytest_berth.run.run import Run

_WORKERS_END_WITHIN = 3600.0


@dataclass
class Manager:
    """The servers of a run, as one process uses them."""

    run: Run
    settings: Settings
    services: Sequence[Service]
    progress: Progress
    first_positions: dict[str, float] = field(default_factory=dict)
    _servers: dict[str, Server] = field(default_factory=dict)
    _ended: list[Server] = field(default_factory=list)
    _locks: dict[str, threading.RLock] = field(default_factory=dict)
    _settled: set[str] = field(default_factory=set)
    _is_handed_over: bool = False

    def __post_init__(self) -> None:
        self.registry = self.run.registry
        self.candidates = Sources(
            self.settings,
            self.run.id,
            # Later, as it makes the run's directory, which the reaper must soon watch.
            self._labels,
        )
        self.reuse = Reuse(self.run, self.settings, self.progress, self.candidates)
        self.starter = Starter(
            self.run, self.settings, self.progress, self.candidates, self.registry, self.reuse
        )

    def _labels(self) -> Mapping[str, str]:
        from pytest_berth.run import orphans

        return orphans.labels_of(self.run, self.settings)

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
        self._start_reaper()
        name = self._key(service)
        with self._lock(name), lock(self.run.directory, name):
            planned = self.starter.plan(service, name, fixed=True)
            self._settled.add(name)
            if service.claims and planned.source == "external":
                self.registry.note_launched(planned)
        return planned if planned.host else self.server(service)

    def server(self, service: Service, slot: str | None = None) -> Server:
        """Return a server of the service, started if this run has not started it yet.

        Args:
            service: The service.
            slot: Whose dedicated server it is; left out for the one that this worker shares.

        Raises:
            NoSourceError: No source can serve.
            StartError: It did not become ready.
        """
        name = self._key(service) if slot is None else key(service.name, slot)
        with self._lock(name):
            known = self._servers.get(name)
            if known is None or self.is_lost(known):
                self._start_reaper()
                with lock(self.run.directory, name):
                    self._confirm_choice(service, name)
                    known = self._join_or_start(service, name)
                self.source(known).join(known)
                self.first_positions[name] = self.source(known).log_position(known)
                self._servers[name] = known
            return known

    def call_at_launch(self, service: Service, work: Callable[[], None]) -> None:
        """Call a function before the server that this worker shares is launched, if it is."""
        self.starter.at_launch[self._key(service)] = work

    def prestart(self, service: Service) -> Server:
        """Start the server that this worker shares, beside running tests.

        Tests may change what all threads of a process share: so a start that fails here is tried
        again when a test needs it, and its source is then chosen again.

        Raises:
            NoSourceError: No source can serve, as it looks now.
            StartError: It did not become ready.
        """
        name = self._key(service)
        self._start_reaper()
        with self._lock(name), lock(self.run.directory, name):
            is_planned = self.registry.read("planned", name) is not None
            server = self._join_or_start(service, name, prestart=True)
            if not (is_planned or server.reattached) and server.source == FALLBACK:
                self.registry.chosen_by_prestart(name).touch()
        return server

    def undo_prestart(self, service: Service, why: str) -> None:
        """Undo what a prestart has done too soon: a server that was there before is left again.

        One whose address was settled before stays: the application may have learnt it.

        Args:
            service: The service.
            why: What is told of it; nothing where it is empty.
        """
        name = self._key(service)
        with self._lock(name), lock(self.run.directory, name):
            if name in self._settled:
                return
            launched = self.registry.read("launched", name)
            if launched is not None:
                if why:
                    self.progress.note(f"{service.name}: given up again: {why}")
                if launched.reattached:
                    self._stop_or_leave(launched)
                else:
                    # Left, its record would be overwritten by that of the server begun anew.
                    self.starter.stop(launched)
            # How a start failed, and where it was to be, may be otherwise when it is begun anew.
            for prestart in (True, False):
                self.registry.failure(name, prestart=prestart).unlink(missing_ok=True)
            noted = launched or self.registry.read("planned", name)
            if noted is not None:
                self.registry.forget(noted)
            self.registry.forget_prebuilt(name)

    def ready(self, service: Service) -> Server | None:
        """Return the server that this worker shares, where it is ready, used or not."""
        name = self._key(service)
        found = self._servers.get(name) or self.registry.read("ready", name)
        return None if found is None or self.is_lost(found) else found

    def current(self, server: Server) -> Server:
        """Return the server that has taken the place of another one, or that one itself."""
        return self._servers.get(server.key, server)

    def mark_lost(self, server: Server) -> None:
        """Note for all workers that a server is lost."""
        debug("%s: lost", server.key)
        self.registry.note_lost(server)

    def is_lost(self, server: Server) -> bool:
        """Tell whether some worker has found that a server is lost."""
        return self.registry.is_lost(server)

    def exit_status(self, server: Server) -> str | None:
        """Describe how a server has ended, or what holds it; None while it runs."""
        noted = self.registry.lost(server)
        why = noted.read_text() if noted.exists() else ""
        return why or self.source(server).exit_status(server)

    def is_replaced(self, server: Server) -> bool:
        """Tell whether another server of the run is in the place of this one."""
        ready = self.registry.read("ready", server.key)
        return ready is not None and ready.restarts > server.restarts

    def give_up(self) -> None:
        """Undo what other threads of this process are starting."""
        self.starter.given_up.set()

    def hold(self, service: Service, server: Server, until: float) -> Server:
        """Let a server stay until a time, though the run ends: see `Reuse.hold`.

        Returns:
            The server, with the record that it is found by.
        """
        if server.source == "external":
            return server
        with lock(self.run.directory, f"{server.key}.held"):
            noted = self.registry.read("launched", server.key) or server
            held = self.reuse.hold(service, noted, until)
            if not noted.reuse_record:
                self.registry.note_launched(held)
        return held

    def end(self, server: Server) -> None:
        """Stop a server that nobody shares, before the run ends; unless it is held."""
        self._stop_or_leave(self.registry.read("launched", server.key) or server)
        self.registry.forget(server)
        self._ended.append(self._servers.pop(server.key))

    def _stop_or_leave(self, noted: Server) -> None:
        if noted.reuse_record:
            self._leave(noted)
        else:
            self.starter.stop(noted)

    def source(self, server: Server) -> Source:
        """Return the source that the server came from."""
        return self.starter.source(server.source)

    def stop(self, *, waits: bool = True) -> None:
        """Stop every server that this run has started, and forget the run; may be called twice.

        Where one cannot be stopped, the run is not forgotten: its reaper sweeps up when this
        process has ended, and later runs do where that fails, too.

        Args:
            waits: Whether to wait until containers are removed; else the run's reaper removes
                those that nothing else is to be done with.
        """
        if not (self.run.is_owner and self.run.has_directory) or self._is_handed_over:
            return
        servers = list(self.registry.all("launched"))
        left = [] if waits else self._for_reaper(servers)
        if not self._stop_all([server for server in servers if server not in left]):
            self.run.end()
            return
        images: dict[str, str] = {}
        for server in left:
            self._try("kept for later runs", partial(self._prepare_image, images), server)
        if self.registry.any_starting():
            self._sweep_sources()
        if left:
            self.run.end()
            hand_over.leave(self.run.directory, left, images)
            self._is_handed_over = True
        else:
            self.run.remove()

    def _for_reaper(self, servers: Sequence[Server]) -> list[Server]:
        """Return the servers whose containers the reaper can remove, where there is a reaper."""
        left = [
            server
            for server in servers
            # The next run may want a port that is fixed.
            if hand_over.is_simple(server) and not ports.fixed(self._service(server), self.settings)
        ]
        return left if left and hand_over.has_reaper(self.run.directory) else []

    def _stop_all(self, servers: Sequence[Server]) -> bool:
        """Return whether nothing of the servers is left."""
        if len(servers) > 1:
            from concurrent.futures import ThreadPoolExecutor

            # An engine takes a quarter of a second to remove a container, however many at once.
            with ThreadPoolExecutor(len(servers), thread_name_prefix="berth-stop") as pool:
                stopped = list(pool.map(self._stop, servers))
        else:
            stopped = [self._stop(server) for server in servers]
        return all(stopped)

    def sweep(self, *, patient: bool = True) -> None:
        """Remove everything that a run has left whose owner is gone.

        Args:
            patient: Whether to wait for the end of the run's workers.
        """
        self.run.end()
        if patient:
            self._sweep(reusable=False)
            self._wait_for_workers()
        self._sweep()
        self.run.remove()

    def _wait_for_workers(self) -> None:
        # Workers outlive their controller until their test ends, and may be starting a server.
        wait_for(
            lambda: not self.run.live_workers(), _WORKERS_END_WITHIN, message="the workers' end"
        )

    def _sweep(self, *, reusable: bool = True) -> None:
        failures = []
        for server in self.registry.all("launched"):
            if server.reuse_record and not reusable:
                continue  # it is left when nobody of the run can write to it any more
            # Of another pid namespace, a pid says nothing, and what runs there cannot be reached.
            if server.source != "local" or self.run.was_here:
                try:
                    self._clean_up(server)
                except Exception as error:  # raised when the others are gone
                    failures.append(error)
        self._sweep_sources()
        if failures:
            raise failures[0]

    def _sweep_sources(self) -> None:
        """Remove also what the registry does not name: its process died before it could note it."""
        for name in {server.source for server in self.registry.all("planned")}:
            self.starter.source(name).sweep(self.reuse.known())

    def _start_reaper(self) -> None:
        """Start the run's reaper before there is anything that it may have to remove."""
        once(self.run.directory, REAPER, lambda: reaper.start(self.run.directory))

    def _stop(self, server: Server) -> bool:
        if server.reuse_record:
            return self._try("left for later runs", self._leave, server)
        self._try("kept for later runs", self._take_snapshot, server)
        return self._try(
            "cleaned up; it is tried again when this process has ended", self._clean_up, server
        )

    def _try(self, what: str, work: Callable[[Server], None], server: Server) -> bool:
        try:
            work(server)
        except Exception as error:  # told, and the others still go
            # Some have no text, such as a MemoryError.
            why = str(error) or type(error).__name__
            self.progress.note(f"{server.service} could not be {what}: {why}")
            return False
        return True

    def _take_snapshot(self, server: Server) -> None:
        """Store what the server was initialised with, if nothing else is on it."""
        if self._is_the_one(server):
            place = (self._service(server), self.source(server), server)
            snapshots.take(*place, self.settings, self.run.id)

    def _prepare_image(self, images: dict[str, str], server: Server) -> None:
        """Do likewise for a container that is left to the reaper, which then stores it."""
        from pytest_berth.sources.container import ContainerSource

        source = self.source(server)
        if self._is_the_one(server) and isinstance(source, ContainerSource):
            place = (self._service(server), source, server)
            if snapshots.prepare(*place, self.settings, self.run.id):
                images[server.key] = source.prepare_image(server)

    def _is_the_one(self, server: Server) -> bool:
        """Tell whether it is the one that is stored, of those that workers have for themselves."""
        ready = [each.key for each in self.registry.all("ready") if each.service == server.service]
        return server.key == min(ready, default="")

    def _leave(self, server: Server) -> None:
        # Of a service of another plugin the reaper knows nothing: the reuse reaper ends it.
        if server.service in {known.name for known in self.services}:
            self.reuse.leave(self._service(server), server)

    def _clean_up(self, server: Server) -> None:
        if server.reuse_record:
            self._leave(server)
            return
        known = {service.name: service for service in self.services}
        if server.source == "external" and server.service not in known:
            # The settings of the run had declared it: such a one takes nothing that is given back.
            debug("%s: not known here, and nothing of it is given back", server.key)
        elif server.source == "external":
            service = known[server.service]
            if service.claims or self.registry.read("ready", server.key):
                debug("%s: what the run has there is given back", server.key)
                service.backend.release(server, self.run.id)
        else:
            debug("%s: stopped (%s)", server.key, server.source)
        self.source(server).stop(server)

    def _key(self, service: Service) -> str:
        return key(service.name, server_scopes.slot(service, self.settings, self.run.worker))

    def _service(self, server: Server) -> Service:
        (service,) = (known for known in self.services if known.name == server.service)
        return service

    def _confirm_choice(self, service: Service, name: str) -> None:
        """Discard a prestarted server where another source would now be chosen."""
        server, chosen = (
            self.registry.read("launched", name),
            self.registry.chosen_by_prestart(name),
        )
        if not server or not chosen.exists():
            return
        with self.starter.telling(service) as progress:
            source, _ = choose(service, self.settings, self.candidates, progress)
        if source.name != server.source:
            debug("%s: its prestart chose %s; now it is %s", name, server.source, source.name)
            self.starter.stop(server)
            self.registry.forget(server)
            self.registry.forget_prebuilt(name)
        chosen.unlink()

    def _join_or_start(self, service: Service, name: str, *, prestart: bool = False) -> Server:
        ready = self.registry.read("ready", name)
        if ready and not self.is_lost(ready):
            debug("%s: %s joins the server at %s:%s", name, self.run.worker, ready.host, ready.port)
            return ready
        return self._start(service, name, lost=ready, prestart=prestart)

    def _start(self, service: Service, name: str, *, lost: Server | None, prestart: bool) -> Server:
        failure = self.registry.failure(name, prestart=prestart)
        raise_remembered(failure)
        try:
            if lost:
                from pytest_berth.run.replace_lost_server import replace_lost

                ready = replace_lost(self.starter, service, lost, self._beside(service))
            else:
                ready = self.starter.start(service, name, self._beside(service))
        except RunEndedError:
            raise
        except BerthError as error:
            _add_reason(error, self.registry.read("planned", name))
            # The other workers are spared a failure that they would have to wait for; and the
            # test that needs the server, too, where all the time has passed.
            is_final = isinstance(error, TimedOutError)
            remember(self.registry.failure(name, prestart=prestart and not is_final), error)
            raise
        # A dedicated server is not worth a line; one that was reattached has had it.
        if name == self._key(service) and not ready.reattached:
            self.progress.note(str(ready))
        return ready

    def _beside(self, service: Service) -> dict[str, Server]:
        """Return the servers that a service depends on, started if need be."""
        return {name: self.server(each) for name, each in service.depends_on.items()}

    def _lock(self, name: str) -> threading.RLock:
        """Return the lock of one server: others are started beside it."""
        return self._locks.setdefault(name, threading.RLock())


def _add_reason(error: BerthError, plan: Server | None) -> None:
    """Say in an error why its source was taken: another one might be easier to mend."""
    if plan and plan.reason:
        taken = f"the source {plan.source!r} was taken: {plan.reason}"
        error.why = "\n".join(filter(None, [error.why, taken]))
