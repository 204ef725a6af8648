"""Gathers what pytest's reports tell of a run, and writes its page at the end.

A plugin of xdist's controller, or of the only process. What workers know travels on the reports.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.errors import SettingsError
from pytest_berth.reporting import redaction
from pytest_berth.reporting.page import files
from pytest_berth.reporting.page.document import Document
from pytest_berth.run.plugin_state import PLUGIN_STATE

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

_NAME = "berth-page"


def start(config: pytest.Config) -> None:
    """Begin to gather; a worker of xdist leaves that to the controller.

    Raises:
        pytest.UsageError: A file cannot be written.
    """
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    berth = config.stash[PLUGIN_STATE]
    wanted = files.asked_for(config, berth.settings)
    try:
        for file in wanted:
            file.check()
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(Collector(wanted, Document(berth)), _NAME)


class Collector:
    """The plugin."""

    def __init__(self, wanted: Sequence[files.File], document: Document) -> None:
        self._files = wanted
        self._document = document
        self._written: Sequence[str] = ()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a report in, whose passwords are gone by now."""
        self._document.add(report)

    @pytest.hookimpl(trylast=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take in what could not be collected."""
        if report.failed:
            self._document.add_uncollected(report)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, Any, Any]:
        """Write the files when the tests have ended, however they did; the summary comes after."""
        try:
            return (yield)
        finally:
            told = self._document.whole(session, int(exitstatus))
            secrets = session.config.stash.get(redaction.SECRETS, None)
            if secrets:
                told = secrets.look().everything(told)
            self._written = [*map(partial(_write, told), self._files)]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the files are."""
        for line in self._written:
            terminalreporter.write_sep("-", line)


def _write(told: Mapping[str, Any], file: files.File) -> str:
    """Write a file, and return what the summary says of it: its results are not lost with it."""
    try:
        file.write(told)
    except OSError as error:
        return f"berth: {file.path} could not be written: {error.strerror} ({file.setting})"
    return f"berth: {file.path.as_uri()}"
