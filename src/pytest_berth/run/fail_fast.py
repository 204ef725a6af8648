"""``--berth-fail-fast``: no server starts before every unit test has passed.

Under xdist the unit tests are spread over the workers. Each worker therefore notes in the run's
directory what it has finished, a byte a test, and waits before its first integration test until
the unit tests of all workers are done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest

from pytest_berth.collection.ordering import is_integration
from pytest_berth.run import prestart
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_berth.run.run import Run

_PASSED, _FAILED, _BLOCKED, _RELEASED = b".", b"F", b"w", b"r"
# Only a bound to a wait that nothing else ends: unit tests may take as long as they like.
_PATIENCE = 86_400.0
_CRASHED = "???"


@dataclass(eq=False)
class FailFast:
    """A plugin that ends the run at the first integration test when a unit test has failed."""

    run: Run
    workers: int
    _unit_tests: set[str] = field(default_factory=set)
    _failed: set[str] = field(default_factory=set)
    _blocked: bool = False
    _released: bool = False

    @property
    def _journal(self) -> Path:
        return self.run.registry.unit_tests

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config) -> None:
        """Keep files and groups in their order: xdist would begin with the largest."""
        config.option.loadscopereorder = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remember the unit tests; xdist's controller has none."""
        self._unit_tests = {item.nodeid for item in items if not is_integration(item)}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Literal[True] | None:
        """Hold integration tests back until all unit tests have passed."""
        if self._released or not is_integration(item):
            return None
        if self._wait() == "failed":
            item.session.shouldfail = "a unit test failed (--berth-fail-fast): no server is started"
            return True
        self._released = True
        self._note(_RELEASED)
        prestart.start(item.config.stash[PLUGIN_STATE], item.session)
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember which tests have failed; a crashed worker's are told by the controller."""
        if report.failed:
            self._failed.add(report.nodeid)
        if report.when == _CRASHED:
            self._note(_FAILED)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Tell the other workers how a unit test ended."""
        if nodeid in self._unit_tests:
            self._note(_FAILED if nodeid in self._failed else _PASSED)

    def pytest_sessionfinish(self) -> None:
        """Tell the other workers that nothing more will come from this one."""
        if not self.run.is_owner:
            self._note_blocked()

    def _note(self, event: bytes) -> None:
        with self._journal.open("ab") as journal:
            journal.write(event)

    def _note_blocked(self) -> None:
        if not self._blocked:
            self._blocked = True
            self._note(_BLOCKED)

    def _wait(self) -> str:
        """Wait for the other workers' unit tests; return ``passed`` or ``failed``."""
        self._note_blocked()
        return wait_for(self._verdict, _PATIENCE, message="unit tests of other workers")

    def _verdict(self) -> str:
        events = self._journal.read_bytes()
        if _RELEASED in events:
            return "passed"
        if _FAILED in events:
            return "failed"
        finished = events.count(_PASSED) >= len(self._unit_tests)
        # Where no worker can go on, integration tests stand before unit tests of their module.
        return "passed" if finished or events.count(_BLOCKED) >= self.workers else ""
