"""pytest's hooks of a run that needs a server: registered when the first one is asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.config.options import HINTS, KEEP_FAILED, SUMMARY
from pytest_berth.reporting import failure_report, redaction
from pytest_berth.reporting.progress import TerminalProgress
from pytest_berth.run.plugin_state import PLUGIN_STATE

if TYPE_CHECKING:
    from collections.abc import Generator

_NAME = "berth-reporting"


def start(config: pytest.Config) -> TerminalProgress:
    """Register these hooks, and return the terminal progress."""
    redaction.start(config)
    config.pluginmanager.register(sys.modules[__name__], _NAME)
    config.pluginmanager.register(Redacting(config.stash[redaction.SECRETS]), f"{_NAME}-redacting")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(
            failure_report.Repeats(config.get_verbosity()), f"{_NAME}-repeats"
        )
    progress = TerminalProgress(config)
    berth = config.stash[PLUGIN_STATE]
    berth.on_server = lambda: redaction.redact_outputs(config)
    berth.on_waiting = progress.catch_up
    berth.show_progress = progress.show
    return progress


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Take the passwords of exported settings out of what is printed, from the header on."""
    redaction.redact_outputs(config)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """The same, where another plugin has put its own reporter in the place of pytest's."""
    redaction.redact_outputs(session.config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, Any]:
    """Take passwords out of the JUnit file, into which properties come past the reports.

    And out of the traceback, where another plugin fails here: pytest itself ends then.
    """
    try:
        result = yield
    except BaseException:
        redaction.redact_traceback(session.config.stash[redaction.SECRETS])
        raise
    path = session.config.getoption("xmlpath", None)
    if path and not hasattr(session.config, "workerinput"):
        redaction.redact_file(path, session.config.stash[redaction.SECRETS].redaction)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Print the lines of threads since the last test, and note the positions in servers' logs."""
    berth = item.config.stash[PLUGIN_STATE]
    berth.on_waiting()
    failure_report.note_log_positions(item, berth)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show why an integration test failed, and no passwords."""
    report = yield
    failure_report.complete(report, item, call)
    if report.when == "teardown" and item.config.getoption("xmlpath", None):
        failure_report.add_properties(report, item)
    item.config.stash[redaction.SECRETS].look().report(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Show why a module cannot be imported that connects to a server of the run."""
    report = yield
    failure_report.complete_collection(report, collector.config.stash[PLUGIN_STATE])
    return report


class Redacting:
    """Takes passwords out of reports that others make, of subtests for instance, and warnings."""

    def __init__(self, secrets: redaction.Secrets) -> None:
        self._secrets = secrets

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Redact a test's report before anybody reads it."""
        self._secrets.look().report(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Redact what could not be collected: the environment tells passwords by then."""
        self._secrets.look().report(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: Any) -> None:
        """Redact a warning."""
        redaction.redact_warning(warning_message, self._secrets.look())


@pytest.hookimpl(wrapper=True)
def pytest_report_teststatus(
    report: pytest.TestReport, config: pytest.Config
) -> Generator[None, Any, Any]:
    """With ``-vv``, show how each test got its clean slate."""
    return failure_report.status((yield), report, config.get_verbosity())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what ran where, and what took how long where that is asked for."""
    config = terminalreporter.config
    berth = config.stash[PLUGIN_STATE]
    if not berth.served:
        return
    told = [*map(str, berth.served)]
    if berth.settings[SUMMARY] or config.get_verbosity() > 0:
        from pytest_berth.reporting import summary

        told += summary.lines(berth)
    if berth.settings[HINTS]:
        from pytest_berth.reporting import run_hints

        failed = bool(terminalreporter.stats.keys() & {"failed", "error"})
        found = run_hints.all_of(berth, config, failed=failed)
        told += [f"hint: {text}" for text in found]
    terminalreporter.write_sep("=", "berth")
    for line in told:
        terminalreporter.write_line(line)
    if berth.settings[KEEP_FAILED]:
        from pytest_berth.reporting import kept_summary

        kept = kept_summary.lines(berth)
        if kept:
            terminalreporter.write_sep("=", kept_summary.TITLE)
        for line in kept:
            terminalreporter.write_line(line)
