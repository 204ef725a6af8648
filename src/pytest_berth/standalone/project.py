"""The project that servers outside pytest belong to: its settings, its services, its modules."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_berth.config import exports, project
from pytest_berth.config import options as core_options
from pytest_berth.config.loading import SETTINGS
from pytest_berth.config.options import Setting, Settings
from pytest_berth.debug_log import ignoring
from pytest_berth.errors import BerthError, ServiceError, SettingsError, nearest, together
from pytest_berth.run.plugin_state import PLUGIN_STATE, PluginState
from pytest_berth.run.run import MAIN, Run
from pytest_berth.services import declared as declared_services
from pytest_berth.services import discovery

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pytest

    from pytest_berth.api import Progress, Service
    from pytest_berth.config.exports import Export

_OUTSIDE = "outside pytest"
# What concerns tests only: no test is there to be skipped, reported or audited.
_OF_TESTS = {core_options.MISSING: "fail", core_options.REPORT_LINES: 0, core_options.AUDIT: "off"}


@dataclass(frozen=True)
class Project:
    """A project as the command line and scripts see it.

    Attributes:
        config: pytest's configuration, with the settings in its stash.
        services: The kinds of servers that there are.
        problems: What services of other distributions cannot be loaded.
    """

    config: pytest.Config
    services: Sequence[Service]
    problems: Sequence[ServiceError]

    @property
    def root(self) -> Path:
        """The project's directory, as pytest finds it."""
        return self.config.rootpath

    @property
    def settings(self) -> Settings:
        """The settings; what is wrong with them is in their `Settings.problems`."""
        return self.config.stash[SETTINGS]

    def require_sound(self) -> None:
        """Refuse what a run would refuse.

        Raises:
            SettingsError: A setting is wrong.
            ServiceError: A service of another distribution cannot be loaded.
        """
        found = together(self.settings.problems)
        if found:
            raise found
        if self.problems:
            raise self.problems[0]

    def exported(self) -> list[Service]:
        """Return the services that ``berth_export`` or ``berth_autouse`` names.

        Raises:
            SettingsError: A line of ``berth_export`` is wrong.
        """
        used = {name for export in self.exports() for name in export.placeholders}
        words = set(self.settings[core_options.AUTOUSE])
        return [
            each
            for each in self.services
            if used & set(each.placeholders_for(self.settings))
            or not words.isdisjoint({each.name, each.prefix})
        ]

    def exports(self) -> Sequence[Export]:
        """Return the lines of ``berth_export``.

        Raises:
            SettingsError: One of them is wrong.
        """
        return exports.parse(self.settings, self.services)

    def in_question(self) -> list[Service]:
        """Return the services that the settings name or declare, else those that are installed."""
        return self.used() or [each for each in self.services if not each.missing_package()]

    def used(self) -> list[Service]:
        """Return the services that the settings name or declare."""
        exported: list[Service] = []
        with ignoring(BerthError, why="it is told where a server is started, or by the doctor"):
            exported += self.exported()
        installed = discovery.find().services
        return [
            each
            for each in self.services
            if each in exported or each not in installed or self._is_set(each)
        ]

    def _is_set(self, service: Service) -> bool:
        return any(self.settings.origin(each) != "default" for each in service.options)

    def named(self, names: Sequence[str]) -> list[Service]:
        """Return the services with these names or prefixes; those exported where none is given.

        Raises:
            SettingsError: There is no such service, or none is named anywhere.
        """
        if not names:
            return self._exported_at_least_one()
        known = self._by_name()
        unknown = [name for name in names if name not in known]
        if unknown:
            raise SettingsError(
                f"there is no service {unknown[0]!r}.",
                why=f"the services are {', '.join(each.name for each in self.services)}",
                remedy=nearest(unknown[0], known),
            )
        return list(dict.fromkeys(known[name] for name in names))

    def service(self, name: str) -> Service | None:
        """Return the service with this name or prefix; None where there is none."""
        return self._by_name().get(name)

    def _by_name(self) -> dict[str, Service]:
        of_prefix = {each.prefix: each for each in self.services}
        return of_prefix | {each.name: each for each in self.services}

    def _exported_at_least_one(self) -> list[Service]:
        found = self.exported()
        if found:
            return found
        raise SettingsError(
            "no service is asked for.",
            why=f"none was named, and berth_export names none: {self.root}",
            remedy="name them: postgres redis; or set berth_export = DATABASE_URL = {pg_url}",
        )

    def begin_run(self, progress: Progress, fixed: Mapping[str, object] | None = None) -> Run:
        """Begin a run of this process's alone, whose state is in the stash afterwards.

        Args:
            progress: Tells of starts and downloads.
            fixed: Settings that are not left to the project, by name.

        Raises:
            SettingsError: A line of ``berth_export`` is wrong.
        """
        settled = {each.name: value for each, value in _OF_TESTS.items()} | dict(fixed or {})
        values = {name: Setting(value, _OUTSIDE) for name, value in settled.items()}
        settings = Settings(self.root, {**self.settings.values, **values})
        run = Run(os.urandom(4).hex(), MAIN)
        berth = PluginState(settings, run, self.services, lambda: progress)
        berth.exports = exports.parse(settings, self.services)
        self.config.stash[SETTINGS] = settings
        self.config.stash[PLUGIN_STATE] = berth
        return run

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Let the project's modules be imported, as pytest does by ``pythonpath``."""
        first = [*map(str, self.config.getini("pythonpath"))]
        last = [str(self.root)]  # as where a conftest file in it is imported
        added = [each for each in dict.fromkeys([*first, *last]) if each not in sys.path]
        sys.path[:] = [*(each for each in added if each in first), *sys.path]
        sys.path += [each for each in added if each not in first]
        try:
            yield
        finally:
            for each in added:
                if each in sys.path:
                    sys.path.remove(each)


def find(given: Mapping[str, object] | None = None, directory: Path | None = None) -> Project:
    """Return the project that a directory belongs to.

    Args:
        given: Settings that go before all others, by name.
        directory: A directory of the project's; the working directory when left out.

    Raises:
        SettingsError: The project's file, or a service that it declares, cannot be read; other
            mistakes `Project` tells.
    """
    services, problems = discovery.find()
    options = [*core_options.OPTIONS, *(option for each in services for option in each.options)]
    declared: list[Service] = []

    def declare(config: pytest.Config, parser: pytest.Parser) -> Any:
        told = declared_services.declare(config, parser, services)
        declared.extend(told.services)
        return [option for each in declared for option in each.options], told.presets

    config = project.read(options, given, directory, declare)
    return Project(config, [*services, *declared], problems)
