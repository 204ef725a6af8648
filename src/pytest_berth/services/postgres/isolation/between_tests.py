"""Between two tests: what threads and processes write there belongs to nobody."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.run.crash_recovery import raise_if_lost
from pytest_berth.services.postgres.server.connection_errors import errors
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.services.postgres.namespace import Workspace

_SLATES = frozenset({POSTGRES.slate, POSTGRES.late_slate})


@contextmanager
def sweeping(config: pytest.Config, workspace: Workspace) -> Iterator[None]:
    """Look between tests for as long as the database is in use."""
    name = config.pluginmanager.register(Sweeper(workspace))
    try:
        yield
    finally:
        config.pluginmanager.unregister(name=name)


@dataclass(frozen=True, eq=False)
class Sweeper:
    """A plugin of the time in which a worker's database is in use."""

    workspace: Workspace

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Put back what has come after the last test's end, where the next one may see it."""
        if _SLATES.isdisjoint(getattr(item, "fixturenames", ())):
            return
        workspace = self.workspace
        with raise_if_lost(workspace.berth, POSTGRES, workspace.server, errors):
            workspace.sweep()

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> None:
        """Let fixtures of a wider scope write."""
        self._expect_changes(fixturedef)

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        """Let what they have removed at their end be gone."""
        self._expect_changes(fixturedef)

    def _expect_changes(self, fixturedef: Any) -> None:
        if fixturedef.scope != "function":
            self.workspace.expect_changes()
