"""What xdist's controller and its workers tell each other: the run's directory, its end, and
usage errors.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_berth.run.run import MAIN, Run

if TYPE_CHECKING:
    from pytest_berth.errors import BerthError

_VARIABLE = "BERTH_RUN_DIRECTORY"


def worker_environment(run: Run) -> dict[str, str]:
    """Return the environment that makes an xdist worker join the controller's run."""
    return {_VARIABLE: f"{run.id}:{run.began}:{run.directory}"}


def current_run() -> Run:
    """Return the run that this process takes part in: a worker's is the controller's.

    xdist's own variables cannot tell a worker from a pytest that a test of a worker starts, which
    inherits them; the controller therefore sets a variable for its workers only, and they take
    it out of their environment at once.
    """
    joined = os.environ.pop(_VARIABLE, "")
    if not joined:
        return Run(os.urandom(4).hex(), MAIN)
    run_id, began, path = joined.split(":", 2)
    run = Run(run_id, os.environ["PYTEST_XDIST_WORKER"], Path(path), began=float(began))
    run.join()
    return run


class Controller:
    """A plugin that tells workers, before xdist ends them, that nothing is to be started now."""

    def __init__(self, run: Run) -> None:
        self.run = run

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
