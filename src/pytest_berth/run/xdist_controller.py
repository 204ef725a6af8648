"""What xdist's controller does for a run beside owning it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_berth.run.run import Run


@dataclass(eq=False)
class Controller:
    """A plugin that tells workers, before xdist ends them, that nothing is to be started now."""

    run: Run

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Make workers undo what they are starting."""
        self.run.end()
