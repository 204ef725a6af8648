"""A run's part in the reuse of servers: it reattaches them, publishes them, leaves them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_berth.config.options import KEEP, RYUK, may_outlive_run
from pytest_berth.debug_log import debug
from pytest_berth.errors import BerthError, NotKeptError
from pytest_berth.file_locks import LockHeldError
from pytest_berth.run.reuse import records, reuse_reaper
from pytest_berth.sources import snapshots
from pytest_berth.sources.choose import Sources, may_serve
from pytest_berth.waiting import now, wall_clock

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        asked = may_outlive_run(self.settings) and service.reusable and not self.settings[RYUK]
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
        try:
            name = self._name(service)
            if not name or not self._all.read(name):
                debug("%s: no earlier run has left a server: %s", service.name, name or "no name")
                return None
            with self._all.lock(name):
                record = self._all.read(name)
                return self._take(service, record) if record else None
        except LockHeldError:
            self._tell_busy(service)
        except OSError as error:
            self.progress.note(f"{service.name}: no server can be kept: {error}")
        except BerthError as error:
            debug("%s: the start tells what is missing: %s", service.name, error)
        return None

    def publish(self, service: Service, server: Server) -> Server:
        """Write a record of a server that this run has started, unless there is one of another."""
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
        except LockHeldError as error:
            debug("%s: not kept, as another run is at it: %s", server.key, error)
            return server
        except Exception as error:  # told, and the server serves this run all the same
            self.progress.note(f"{service.name}: the server is not kept: {_brief(error)}")
            return server

    def leave(self, service: Service, server: Server) -> None:
        """Leave a server to later runs, for as long as ``berth_keep`` says.

        Where that is not at all, it stays for the state of failed tests, or ends.
        """
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
                if not (lasts or record.holds_kept_state):
                    self._end(service, record)
                    return
                left = replace(record, lasts=lasts, ends=wall_clock() + lasts)
                reuse_reaper.register(self._all, left)
                debug("%s: left for later runs, for %g s", server.key, lasts)

    def require_may_stay(self, service: Service) -> None:
        """Refuse to keep the state of failed tests on a server that ends with its run.

        Raises:
            NotKeptError: It does.
        """
        if self.settings[RYUK]:
            raise NotKeptError("the server ends with the run.", why=self.settings.given(RYUK))
        if service.backend.account(self.settings).given:
            why = "the settings fix its address or its names, which the next run needs"
            raise NotKeptError("the server ends with the run.", why=why)

    def hold(self, service: Service, server: Server, until: float) -> Server:
        """Let a server stay for the state of a failed test; return it with its record.

        Args:
            service: Its kind.
            server: A server that this run uses, and berth has started.
            until: The time, in seconds since 1970.
        """
        one = records.name_for_one(service.name, self.run.id, server.slot)
        held = replace(server, reuse_record=server.reuse_record or one)
        with self._all.lock(held.reuse_record, within=_LEFT_WITHIN):
            record = self._all.read(held.reuse_record) or self._record(service, held, digest=())
            longest = max(record.kept_until, until)
            reuse_reaper.register(self._all, replace(record, kept_until=longest))
        return held

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
        began, password = now(), service.backend.account(self.settings).password
        account = replace(record.server.credentials, password=password)
        server = replace(record.server, credentials=account)
        try:
            _reset(service, record, password)
        except NotCleanError as error:
            if not record.holds_kept_state:
                self._pass_over(service, record, error)
                return None
            self._set_apart(service, replace(record, server=server), error)
            return None
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

    def _set_apart(self, service: Service, record: Record, problem: Exception) -> None:
        """Leave a server that is of no use to later runs to the state of failed tests on it."""
        from pytest_berth.run.reuse import kept_states

        text = f"{service.name}: the server kept for this project is left to what failed"
        self.progress.note(f"{text}: {_brief(problem)}")
        name = records.name_for_one(service.name, record.last_run, self.run.id)
        apart = replace(record, name=name, server=replace(record.server, reuse_record=name))
        reuse_reaper.register(self._all, apart)
        kept_states.move(record.name, name)
        self._all.remove(record)

    def _end(self, service: Service, record: Record) -> None:
        """End a server of this run's, and leave a snapshot of it if it is fit for one."""
        source, server = self._source(record.server), record.server
        try:
            snapshots.take(service, source, server, self.settings, self.run.id)
        except Exception as error:  # told, and the server still goes
            self.progress.note(f"{service.name}: no snapshot is left: {_brief(error)}")
        source.stop(server)
        self._all.remove(record)

    def _record(
        self, service: Service, server: Server, digest: Sequence[str] | None = None
    ) -> Record:
        lasts = self.settings[KEEP].total_seconds()
        return records.Record(
            name=server.reuse_record,
            server=server,
            state_digest=tuple(service.backend.state_digest(server) if digest is None else digest),
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


def _reset(service: Service, record: Record, password: str) -> None:
    """Reset the server and give it a new password.

    Raises:
        NotCleanError: Something is left, or gone.
        NotReadyError: It does not answer.
        StartError: Another server answers in its place, which is left alone.
    """
    server = record.server
    # Not every kind of server keeps out those who take it for another by a password.
    service.backend.probe(server)
    found = service.backend.reset_server(server, record.last_run, record.state_digest, password)
    changed = sorted(set(found) ^ set(record.state_digest))
    if changed:
        raise NotCleanError(f"tests have changed it: {', '.join(changed[:3])}")


def _brief(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
