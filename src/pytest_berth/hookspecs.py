"""What other plugins can implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.api import Service


@pytest.hookspec
def pytest_berth_services() -> Sequence[Service]:
    """Return services to be offered beside the built-in ones.

    Called once per process, when the command line and the ini file are known and before conftest
    files are imported; only installed plugins can therefore implement it.
    """
    return ()
