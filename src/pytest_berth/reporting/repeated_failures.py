"""An error that fails many tests is shown once; later reports name the first test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_berth.errors import BerthError

_FULL = 2


@dataclass(eq=False)
class Repeats:
    """The errors of berth's that the terminal has shown, and where.

    Attributes:
        verbosity: With ``-vv`` each is shown in full.
    """

    verbosity: int
    _shown: dict[str, str] = field(default_factory=dict)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Leave of an error that was shown already its first line, and where the others are."""
        error = getattr(report, "berth_error", None)
        if not error or not report.failed or self.verbosity >= _FULL:
            return
        shown = self._shown.setdefault(str(report.longrepr), report.nodeid)
        if shown != report.nodeid:
            report.longrepr = f"{error}\n  (why, and what to do: see {shown})"


def mark(report: pytest.TestReport, error: BerthError) -> None:
    """Let `Repeats` know, also where the report comes from xdist's workers."""
    if error.why or error.remedy:
        vars(report)["berth_error"] = error.what
