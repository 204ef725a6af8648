"""``--berth-fail-fast``: no server starts before every unit test has passed.

Under xdist the unit tests are spread over the workers. Each worker therefore notes in the run's
directory what it has finished, a byte a test, and waits before its first integration test until
the unit tests of all workers are done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_berth.lifecycle.order import is_integration
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pytest_berth.lifecycle.run import Run

_PASSED, _FAILED, _WAITING = b".", b"F", b"w"
_PATIENCE = 600.0


@dataclass
class FailFast:
    """A plugin that ends the run at the first integration test when a unit test has failed."""

    run: Run
    workers: int
    _unit_tests: int = 0
    _done: bool = False
    _failed: set[str] = field(default_factory=set)

    @property
    def _journal(self) -> Path:
        return self.run.directory / "unit-tests"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Count the unit tests."""
        self._unit_tests = sum(not is_integration(item) for item in items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Hold integration tests back until all unit tests have passed."""
        if not is_integration(item):
            result = yield
            self._note(_FAILED if item.nodeid in self._failed else _PASSED)
            return result
        if not self._done and self._wait():
            item.session.shouldfail = "a unit test failed (--berth-fail-fast): no server is started"
            return True
        self._done = True
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember which tests have failed."""
        if report.failed:
            self._failed.add(report.nodeid)

    def _note(self, event: bytes) -> None:
        with self._journal.open("ab") as journal:
            journal.write(event)

    def _wait(self) -> bool:
        """Wait for the other workers' unit tests; return whether any has failed."""
        self._note(_WAITING)
        return wait_for(self._verdict, _PATIENCE, message="unit tests of other workers") == "failed"

    def _verdict(self) -> str:
        events = self._journal.read_bytes()
        if _FAILED in events:
            return "failed"
        finished = events.count(_PASSED) >= self._unit_tests
        # Where all workers wait, xdist has put integration tests before unit tests.
        return "passed" if finished or events.count(_WAITING) >= self.workers else ""
