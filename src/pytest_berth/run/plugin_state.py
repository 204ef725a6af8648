"""The plugin's state in a process: in the stash of pytest's ``config``."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from pytest_berth.config.options import EXPORT, HINTS, MISSING, WAIT_AT_END
from pytest_berth.debug_log import debug
from pytest_berth.errors import (
    ArtifactError,
    BerthError,
    MissingExtraError,
    NoSourceError,
    ServiceError,
    SettingsError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pytest_berth.api import Progress, Server, Service
    from pytest_berth.config.exports import Export
    from pytest_berth.config.options import Settings
    from pytest_berth.run.prestart import Prestart
    from pytest_berth.run.run import Run
    from pytest_berth.run.server_manager import Manager


class PluginState:
    """The settings, the run and its servers, as one process sees them.

    Attributes:
        exports: What the application finds in its environment.
        exported: The variables that were set for it, and their values.
        not_exported: Why the environment could not be set, empty where it is.
        declared: What is made of Compose files, for the header.
        may_need_servers: Whether any of the collected tests is an integration test.
        on_server: Called whenever a server has been handed out.
        on_waiting: Called now and then while pytest's own thread waits for another one.
        show_progress: Called as often, with True, and with False when the waiting is over.
        served: The servers of a run whose tests have ended.
        hints: What the summary tells beside them.
        after_tests: What is to be done before the results are printed.
        at_end: What is to be undone at the end.
        is_left_to_reaper: Whether the end was interrupted: the reaper does what is left of it.
        stash: What services keep for the life of this process, each under a key of its own.
    """

    def __init__(
        self,
        settings: Settings,
        run: Run,
        services: Sequence[Service],
        start_reporting: Callable[[], Progress],
    ) -> None:
        self.settings = settings
        self.run = run
        self.services = services
        self.exports: Sequence[Export] = ()
        self.exported: Mapping[str, str] = {}
        self.not_exported = ""
        self.declared = ""
        self.may_need_servers = False
        self.on_server: Callable[[], None] = lambda: None
        self.on_waiting: Callable[[], None] = lambda: None
        self.show_progress: Callable[[bool], None] = lambda is_waiting: None
        self.served: tuple[Server, ...] = ()
        self.hints: tuple[str, ...] = ()
        self.after_tests = ExitStack()
        self.at_end = ExitStack()
        self.is_left_to_reaper = False
        self.stash = pytest.Stash()
        self._process = os.getpid()
        self._start_reporting = start_reporting
        self._manager: Manager | None = None
        self._prestart: Prestart | None = None

    @cached_property
    def progress(self) -> Progress:
        """Prints lines for a waiting user; created when there is something to print."""
        return self._start_reporting()

    @property
    def manager(self) -> Manager:
        """The servers; created when first needed, as it imports the sources."""
        if self._manager is None:
            from pytest_berth.run.server_manager import Manager

            self._manager = Manager(self.run, self.settings, self.services, self.progress)
        return self._manager

    @property
    def prestart(self) -> Prestart:
        """The servers that start before a test asks for them."""
        if self._prestart is None:
            from pytest_berth.run.prestart import Prestart

            self._prestart = Prestart(self)
            self.at_end.callback(self._prestart.end)
        return self._prestart

    @property
    def is_expecting_servers(self) -> bool:
        """Whether servers have begun to start before the tests were known."""
        return self._prestart is not None and self._prestart.is_expecting

    def join_prestarts(self) -> None:
        """Wait for the servers that are being started before a test asks for them."""
        if self._prestart is not None:
            for service in self.services:
                self._prestart.join(service)

    @property
    def is_given_a_server(self) -> bool:
        """Whether a URL in the settings tells the password of a server that is there already."""
        names = {f"berth_{service.prefix}_url" for service in self.services}
        values = self.settings.values
        return any("@" in str(values[name].value) for name in names & values.keys())

    @property
    def has_manager(self) -> bool:
        """Whether anything has asked for a server yet."""
        return self._manager is not None

    def exports_any(self, service: Service) -> bool:
        """Tell whether the application learns of a service from its environment."""
        if not self.exports:
            return False
        known = service.placeholders_for(self.settings)
        return any(export.placeholders & known for export in self.exports)

    def prepare(self) -> list[BerthError]:
        """Set the application's environment; return what is wrong with the settings."""
        problems: list[BerthError] = list(self.settings.problems)
        if self.settings[EXPORT] and not problems:
            from pytest_berth.config import exports

            try:
                self.exported = self.export(exports.parse(self.settings, self.services))
            except (SettingsError, ServiceError) as error:
                problems.append(error)
        return problems

    def finish_testing(self) -> None:
        """Print what is still to be told, and remember the servers, for the summary."""
        self.after_tests.close()
        if self.is_expecting_servers:
            self.prestart.join_undone()
        if self.has_manager or self.run.has_directory:
            self.served = tuple(self.manager.registry.all("ready"))
            self.run.timeline.collect(self.run.registry)
            path = self.run.registry.hints
            told = path.read_text("utf-8").splitlines() if path.exists() else ()
            self.hints = tuple(dict.fromkeys(told))
            self.on_waiting()

    def hint(self, text: str) -> None:
        """Let the summary give the user a hint, once, from whatever worker it comes."""
        if not self.settings[HINTS]:
            return
        with self.run.registry.hints.open("a", encoding="utf-8") as hints:
            hints.write(f"{text}\n")

    def end(self) -> None:
        """Stop what this run has started and undo what it has set; may be called twice.

        In a process that a test has forked nothing is done: all of it is its parent's.
        """
        if os.getpid() != self._process:
            return
        self.after_tests.close()
        self.at_end.close()
        if self.has_manager or self.run.has_directory:
            self.manager.stop(waits=self._waits_at_end())
            self.on_waiting()

    def _waits_at_end(self) -> bool:
        """Tell whether the end of this run's containers is waited for."""
        choice = self.settings[WAIT_AT_END]
        if choice != "auto":
            return choice == "on"
        from pytest_berth.run import hand_over

        why = hand_over.why_waited(os.environ)
        if why:
            debug("the end of containers is waited for: %s", why)
        return bool(why)

    def export(self, further: Sequence[Export]) -> Mapping[str, str]:
        """Export the addresses of servers yet to be started.

        Where no source can serve, unit tests must still run: the tests that need the server will
        tell.

        Args:
            further: What is exported besides what is so already.

        Returns:
            The variables that are set now; those are left out whose servers cannot be had.

        Raises:
            ServiceError: A service has no value for a placeholder that it announces.
        """
        from pytest_berth.config import exports

        self.exports = (*self.exports, *further)
        values: dict[str, object] = {}
        try:
            for service in self.services:
                known = service.placeholders_for(self.settings)
                if not any(each.placeholders & known for each in further):
                    continue
                planned = self.manager.plan(service)
                run = self.run
                place = (planned, self.settings, run.id, run.worker)
                given = service.backend.placeholders(*place)
                _require_all(service, known, given)
                values |= given
        except (MissingExtraError, NoSourceError) as error:
            self.not_exported = error.what
        variables = exports.render(further, values)
        self.at_end.callback(_restore, {name: os.environ.get(name) for name in variables})
        os.environ.update(variables)
        return variables

    def server(self, service: Service, slot: str | None = None) -> Server:
        """Return a service's server, started if need be.

        Args:
            service: The service.
            slot: Whose own server it is; left out for the one that this worker shares.

        Raises:
            MissingExtraError: Its Python packages are not installed.
            NoSourceError: No source can serve, and ``berth_missing`` is not ``skip``.
            StartError: It did not become ready.
        """
        manager = self.manager
        missing = service.missing_package()
        if missing:
            raise missing
        if self._prestart is not None:
            self._prestart.join(service)
        try:
            server = manager.server(service, slot)
        except (NoSourceError, ArtifactError) as error:
            if self.settings[MISSING] == "skip":
                pytest.skip(f"{error.what} ({self.settings.given(MISSING)})")
            raise
        self.on_server()
        return server


def _require_all(service: Service, announced: Collection[str], given: Mapping[str, object]) -> None:
    missing = sorted(set(announced) - given.keys())
    if missing:
        kind = type(service.backend).__name__
        raise ServiceError(
            f"the service {service.name!r} has no value for {{{missing[0]}}}.",
            why=f"its descriptor announces that placeholder; {kind}.placeholders() returns only"
            f" {', '.join(sorted(given))}",
            remedy=f"mend it there, or tell those who maintain {service.distribution or 'it'}",
        )


def _restore(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


PLUGIN_STATE = pytest.StashKey[PluginState]()
