"""The plugin of a run that looks for a polluter: it runs the tests it is told, and tells outcomes.

PYTEST_DONT_REWRITE: there are no assertions here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FLAG = "--berth-child-run"
ASKED, TOLD = "asked.json", "told.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that names the directory in which both runs write."""
    parser.addoption(FLAG, dest="berth_child_run", help="set by --berth-find-polluter")


def pytest_configure(config: pytest.Config) -> None:
    """Take part in what the run is for."""
    directory = config.getoption("berth_child_run")
    config.pluginmanager.register(ChildRun(Path(directory)), "berth-child-run")


class ChildRun:
    """Selects tests, and writes down what has become of them.

    Attributes:
        directory: Where the tests are named, and the outcomes are told.
        tests: The tests to run, in this order; None for those that the command line selects.
        told: What is told: the tests, their outcomes, what the audit has found of each.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        asked = directory / ASKED
        self.tests: list[str] | None = json.loads(asked.read_text()) if asked.exists() else None
        self.told: dict[str, Any] = {"tests": [], "seed": None, "outcomes": {}, "audit": {}}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Select the tests, when all other plugins have put them in order."""
        if self.tests is not None:
            found = {item.nodeid: item for item in session.items}
            session.items[:] = [found[test] for test in self.tests if test in found]
        self.told["tests"] = [item.nodeid for item in session.items]
        self.told["seed"] = getattr(session.config.option, "randomly_seed", None)
        self._write()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what has become of a test: it has failed if any of its phases has."""
        outcomes = self.told["outcomes"]
        outcome = "failed" if report.outcome == "rerun" else report.outcome  # type: ignore[comparison-overlap]  # rerunfailures'
        if outcomes.get(report.nodeid) not in ("failed", "skipped") or outcome == "failed":
            outcomes[report.nodeid] = outcome
        found = getattr(report, "berth_audit", None)
        if found:
            self.told["audit"][report.nodeid] = found

    def pytest_sessionfinish(self) -> None:
        """Tell of all tests that have ended."""
        self._write()

    def _write(self) -> None:
        (self.directory / TOLD).write_text(json.dumps(self.told), encoding="utf-8")
