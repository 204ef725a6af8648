"""Usage errors that only collection can find: raised once, also under xdist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_berth.errors import BerthError
    from pytest_berth.run.run import Run


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
