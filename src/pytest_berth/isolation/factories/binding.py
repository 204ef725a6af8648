"""Binds factories to the test that runs, and to fixtures of a wider scope while they are set up.

The libraries ask for a session whenever a factory makes an object. So a factory is told once, for
the whole run, whom to ask; a test, or a fixture, only says that it is the one now. Nothing is
opened for a test whose factories make nothing.
"""

from __future__ import annotations

import os
import zlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import IsolationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from pytest_berth.config.descriptor import Service
    from pytest_berth.config.options import Option
    from pytest_berth.isolation.factories.protocols import Library, Sessions
    from pytest_berth.run.plugin_state import PluginState


_FACTORIES = pytest.StashKey[dict[str, "Factories"]]()


class _Bound:
    """Whom factories work for now; sessions are opened when one makes an object."""

    def __init__(self, sessions: Sessions, stack: ExitStack, *, commits: bool) -> None:
        self.commits = commits
        self._sessions = sessions
        self._stack = stack
        self._opened: Session | None = None
        self._opened_async: AsyncSession | None = None

    def sync(self) -> Session:
        if self._opened is None:
            self._opened = self._stack.enter_context(self._sessions.session())
        return self._opened

    def asynchronous(self) -> AsyncSession:
        if self._opened_async is None:
            self._opened_async = self._stack.enter_context(self._sessions.async_session())
        return self._opened_async


class Factories:
    """The factories that a setting names.

    Args:
        libraries: They, by the library that they are of.
        service: The service whose sessions they get.
        setting: The name of the setting.
    """

    def __init__(self, libraries: Sequence[Library], service: Service, setting: str) -> None:
        self._libraries = libraries
        self._service = service
        self._setting = setting
        self._bound: _Bound | None = None
        self._before: list[tuple[object, list[Sequence[int | None]]]] = []

    def take(self) -> None:
        """Let all factories ask here for their sessions."""
        for each in self._libraries:
            each.take(self._session, self._async_session)

    def give_back(self) -> None:
        """Let all factories have what they declare, as the run has ended."""
        for each in self._libraries:
            each.give_back()

    @contextmanager
    def for_test(self, sessions: Sessions, test: str, *, commits: bool) -> Iterator[None]:
        """Let factories work for a test; sequences go on afterwards where they stood before it.

        Args:
            sessions: What opens its sessions.
            test: Its id, which seeds what is drawn at random.
            commits: Whether what it commits is seen by others.
        """
        before = self._sequences()
        try:
            with self._working_for(sessions, test, commits=commits):
                yield
        finally:
            self._put_back(before)

    @contextmanager
    def for_fixture(self, sessions: Sessions, fixture: object, place: str) -> Iterator[None]:
        """Let factories work for a fixture of a wider scope, while it is set up.

        Args:
            sessions: What opens its sessions.
            fixture: The fixture; `leave` is called with it.
            place: The id of the module, class or session that it is set up for.
        """
        self._before.append((fixture, self._sequences()))
        with self._working_for(sessions, place, commits=True):
            yield

    def leave(self, fixture: object) -> None:
        """Let sequences stand as before a fixture that has ended, unless others came after it."""
        for index, (known, before) in enumerate(self._before):
            if known is fixture:
                if index == len(self._before) - 1:
                    self._put_back(before)
                del self._before[index]
                return

    @contextmanager
    def _working_for(self, sessions: Sessions, seed: str, *, commits: bool) -> Iterator[None]:
        outer = self._bound
        for each in self._libraries:
            if outer is None:  # else a test has drawn already
                each.seed(zlib.crc32(seed.encode()))
            each.begin(commits=commits)
        try:
            with ExitStack() as stack:
                self._bound = _Bound(sessions, stack, commits=commits)
                yield
        finally:
            self._bound = outer
            for each in self._libraries:
                each.end()
                if outer:
                    each.begin(commits=outer.commits)

    def _sequences(self) -> list[Sequence[int | None]]:
        return [each.sequences for each in self._libraries]

    def _put_back(self, before: list[Sequence[int | None]]) -> None:
        for each, numbers in zip(self._libraries, before, strict=True):
            if numbers:
                each.sequences = numbers

    def _session(self) -> Session:
        __tracebackhide__ = True
        return self._now().sync()

    def _async_session(self) -> AsyncSession:
        __tracebackhide__ = True
        return self._now().asynchronous()

    def _now(self) -> _Bound:
        __tracebackhide__ = True
        if self._bound is None:
            raise self._nobody()
        return self._bound

    def _nobody(self) -> IsolationError:
        prefix, label = self._service.prefix, self._service.label
        running, _, phase = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")
        who = f"{running} ({phase.rstrip(')')})" if running else "no test runs"
        return IsolationError(
            f"a factory of {self._setting} was used where no test has {label}.",
            why=f"{who}: neither the test nor the fixture that makes the object asks for {label}",
            remedy=f"let the test ask for {prefix}_session, and a fixture of a wider scope for"
            f" {prefix}_engine; what needs no database can be built: UserFactory.build()",
        )


def load(berth: PluginState, service: Service, option: Option[tuple[str, ...]]) -> None:
    """Import the modules that a setting names, and let their factories ask here for sessions.

    Raises:
        SettingsError: A module cannot be imported, or has no factories.
    """
    names = berth.settings[option]
    if not names or service.name in _known(berth):
        return
    from pytest_berth.isolation.factories import modules

    place = f"{option.name}, set by {berth.settings.origin(option)}"
    found = Factories(modules.find(names, place, berth.settings.root), service, option.name)
    _known(berth)[service.name] = found
    found.take()
    berth.after_tests.callback(found.give_back)


def of(berth: PluginState, service: Service) -> Factories | None:
    """Return the factories of a service; None where the settings name none."""
    return _known(berth).get(service.name)


def _known(berth: PluginState) -> dict[str, Factories]:
    return berth.stash.setdefault(_FACTORIES, {})
