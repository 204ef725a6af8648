"""A run's part in the reuse of servers: it reattaches them, publishes them, leaves them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_berth.config.options import KEEP, RYUK
from pytest_berth.debug_log import debug
from pytest_berth.errors import BerthError
from pytest_berth.run.reuse import records, reuse_reaper
from pytest_berth.sources.choose import Sources, may_serve
from pytest_berth.waiting import now, wall_clock

if TYPE_CHECKING:
    from pytest_berth.api import Progress, Server, Service, Source
    from pytest_berth.config.options import Settings
    from pytest_berth.run.reuse.records import Record, Records
    from pytest_berth.run.run import Run

_LEFT_WITHIN = 60.0


@dataclass
class Reuse:
    """The servers of a run that come from an earlier run, or stay for a later one."""

    run: Run
    settings: Settings
    progress: Progress
    candidates: Sources

    def is_wanted(self, service: Service) -> bool:
        """Tell whether the run's server of a service may come from another run, and outlive it."""
        asked = bool(self.settings[KEEP]) and service.reusable and not self.settings[RYUK]
        # The names that an application has written down are those of one run after the other.
        given = service.backend.account(self.settings).given
        return asked and not given and not service.missing_package()

    def exists(self, service: Service) -> bool:
        """Tell whether an earlier run has left a server; it may still prove unusable."""
        try:
            name = self.is_wanted(service) and self._name(service)
            return bool(name and self._all.read(name))
        except (OSError, BerthError) as error:
            debug("%s: told when it is taken over, or started: %s", service.name, error)
            return False

    def reattach(self, service: Service) -> Server | None:
        """Take over the server that an earlier run has left, and reset it to its initial state.

        Returns:
            None where there is none, or another run uses it, or it cannot be used; in the latter
            cases a line says why.
        """
        from filelock import Timeout

        try:
            name = self._name(service)
            if not name or not self._all.read(name):
                debug("%s: no earlier run has left a server: %s", service.name, name or "no name")
                return None
            with self._all.lock(name):
                record = self._all.read(name)
                return self._take(service, record) if record else None
        except Timeout:
            self._tell_busy(service)
        except OSError as error:
            self.progress.note(f"{service.name}: no server can be kept: {error}")
        except BerthError as error:
            debug("%s: the start tells what is missing: %s", service.name, error)
        return None

    def publish(self, service: Service, server: Server) -> Server:
        """Write a record of a server that this run has started, unless there is one of another."""
        from filelock import Timeout

        if not self.is_wanted(service) or server.slot or self.run.has_ended:
            return server
        try:
            name = self._name(service)
            if not name:
                return server
            with self._all.lock(name):
                there = self._all.read(name)
                if there and there.user != str(self.run.directory):
                    debug("%s: not kept, as the server of another run is", server.key)
                    return server
                record = self._record(service, replace(server, reuse_record=name))
                reuse_reaper.register(self._all, record)
                debug("%s: later runs can find it as %s", server.key, name)
                return record.server
        except Timeout as error:
            debug("%s: not kept, as another run is at it: %s", server.key, error)
            return server
        except Exception as error:  # told, and the server serves this run all the same
            self.progress.note(f"{service.name}: the server is not kept: {_brief(error)}")
            return server

    def leave(self, service: Service, server: Server) -> None:
        """Leave a server to later runs, for as long as ``berth_keep`` says."""
        ours = str(self.run.directory)
        with self._all.lock(server.reuse_record, within=_LEFT_WITHIN):
            record = self._all.read(server.reuse_record)
            if record is None:
                self._source(server).stop(server)
            elif record.user == ours and not record.is_current:
                debug("%s: stopped, as another version has written its record", server.key)
                self._source(server).stop(server)
                self._all.remove(record)
            elif record.user != ours:
                debug("%s: this run was held for dead, and another one has it", server.key)
            else:
                lasts = self.settings[KEEP].total_seconds() or record.lasts
                left = replace(record, lasts=lasts, ends=wall_clock() + lasts)
                reuse_reaper.register(self._all, left)
                debug("%s: left for later runs, for %g s", server.key, lasts)

    def forget(self, server: Server) -> None:
        """Remove the record of a server that has been stopped."""
        record = self._all.read(server.reuse_record) if server.reuse_record else None
        if record and record.user == str(self.run.directory):
            self._all.remove(record)

    def known(self) -> list[Server]:
        """Return the servers that may outlive their runs."""
        return [record.server for record in records.all_of_user()]

    @cached_property
    def _all(self) -> Records:
        return records.of_user()

    def _name(self, service: Service) -> str:
        """Return the record's name for the server that would be started now; empty without one."""
        for source in may_serve(service, self.settings, self.candidates):
            identity = source.identity(service)
            if identity is not None:
                parts = (source.name, *identity)
                return records.name(service.name, self.settings.root, *parts) if identity else ""
        return ""

    def _take(self, service: Service, record: Record) -> Server | None:
        ours = str(self.run.directory)
        if record.user != ours and record.is_used:
            self._tell_busy(service)
            return None
        began, server = now(), record.server
        try:
            server = _reset(service, record, self.settings)
        except Exception as error:  # told, and a new one is started
            self._pass_over(service, record, error)
            return None
        reuse_reaper.register(self._all, replace(record, server=server, user=ours))
        return replace(server, reattached=True, started_in=now() - began)

    def _pass_over(self, service: Service, record: Record, problem: Exception) -> None:
        text = f"{service.name}: the server kept for this project is passed over"
        self.progress.note(f"{text}: {_brief(problem)}")
        try:
            self._source(record.server).stop(record.server)
            self._all.remove(record)
        except Exception as error:  # told; the reuse reaper tries again
            self.progress.note(f"{service.name}: it could not be removed: {_brief(error)}")

    def _record(self, service: Service, server: Server) -> Record:
        lasts = self.settings[KEEP].total_seconds()
        return records.Record(
            name=server.reuse_record,
            server=server,
            state_digest=tuple(service.backend.state_digest(server)),
            project=str(self.settings.root),
            user=str(self.run.directory),
            lasts=lasts,
            ends=wall_clock() + lasts,
        )

    def _source(self, server: Server) -> Source:
        return self.candidates[server.source]

    def _tell_busy(self, service: Service) -> None:
        self.progress.note(
            f"{service.name}: another run uses the server kept for this project, so this one starts"
            " its own"
        )


class NotCleanError(Exception):
    """Tests have changed a server in a way that cannot be reset."""


def _reset(service: Service, record: Record, settings: Settings) -> Server:
    """Reset the server and give it a new password.

    Raises:
        NotCleanError: Something is left, or gone.
        NotReadyError: It does not answer.
        StartError: Another server answers in its place, which is left alone.
    """
    server, password = record.server, service.backend.account(settings).password
    # Not every kind of server keeps out those who take it for another by a password.
    service.backend.probe(server)
    found = service.backend.reset_server(server, record.last_run, record.state_digest, password)
    changed = sorted(set(found) ^ set(record.state_digest))
    if changed:
        raise NotCleanError(f"tests have changed it: {', '.join(changed[:3])}")
    return replace(server, credentials=replace(server.credentials, password=password))


def _brief(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
