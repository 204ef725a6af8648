"""What xdist's controller and its workers tell each other: the end, and usage errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_berth.errors import BerthError
    from pytest_berth.run.run import Run


@dataclass(eq=False)
class Controller:
    """A plugin that tells workers, before xdist ends them, that nothing is to be started now."""

    run: Run

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Make workers undo what they are starting."""
        self.run.end()


def end_run(run: Run, items: list[pytest.Item], error: BerthError) -> None:
    """End the run with a usage error.

    An xdist worker cannot do so itself: every worker would fail, each with a traceback. It leaves
    the message for the controller and offers no tests.

    Raises:
        pytest.UsageError: Always, but in an xdist worker.
    """
    if run.is_owner:
        raise pytest.UsageError(str(error))
    run.registry.usage_error.write_text(str(error))
    items.clear()


def raise_workers_error(run: Run) -> None:
    """Raise, in the controller, the usage error that a worker has left.

    Raises:
        pytest.UsageError: There is one.
    """
    path = run.registry.usage_error
    if path.exists():
        raise pytest.UsageError(path.read_text())
