"""The clean slates of tests that may reach Redis by another way than its fixtures.

Nothing here imports redis-py: such tests are met also where nobody uses Redis.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.services.redis.namespace import Workspace

WORKSPACE = pytest.StashKey["Workspace"]()


@contextmanager
def late_slate(config: pytest.Config) -> Iterator[None]:
    """Clean up behind a test that may ask for Redis only while it runs.

    As long as no test has needed Redis there is nothing to guard, and nothing is started.
    """
    before = _opened(config)
    with before.slate() if before else nullcontext():
        yield
    opened = _opened(config)
    if opened and not before:
        opened.start_over()


class Sweeper:
    """A plugin of the time in which a worker's database number is in use."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Delete what the last test's threads have written after its end."""
        opened = _opened(item.config)
        if opened:
            opened.sweep()


def _opened(config: pytest.Config) -> Workspace | None:
    return config.stash.get(WORKSPACE, None)
