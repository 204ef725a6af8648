"""pytest's hooks of a run that needs a server: registered when the first one is asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.lifecycle.state import BERTH
from pytest_berth.reporting import sections
from pytest_berth.reporting.progress import TerminalProgress
from pytest_berth.reporting.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Generator

_NAME = "berth-reporting"


def start(config: pytest.Config) -> TerminalProgress:
    """Register these hooks, and return what tells a waiting user what is going on."""
    config.pluginmanager.register(sys.modules[__name__], _NAME)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Repeats(config.get_verbosity()), f"{_NAME}-repeats")
    progress = TerminalProgress(config)
    berth = config.stash[BERTH]
    berth.on_server = lambda: sections.redact_live_logs(config)
    berth.on_waiting = progress.catch_up
    return progress


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Take the passwords of exported settings out of live logs before anything can log them."""
    sections.redact_live_logs(session.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Print what threads have told since the last test, and remember where servers' logs are."""
    berth = item.config.stash[BERTH]
    berth.on_waiting()
    sections.mark_logs(item, berth)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show why an integration test failed, and no passwords."""
    report = yield
    sections.complete(report, item, call)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_report_teststatus(
    report: pytest.TestReport, config: pytest.Config
) -> Generator[None, Any, Any]:
    """With ``-vv``, show how each test got its clean slate."""
    return sections.status((yield), report, config.get_verbosity())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what ran where."""
    servers = terminalreporter.config.stash[BERTH].served
    if servers:
        terminalreporter.write_sep("=", "berth")
        for server in servers:
            terminalreporter.write_line(str(server))
