"""Each process of a run writes down how much memory it had at most, and how many connections."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTS = [0]


@pytest.fixture
def counted() -> Callable[[int], None]:
    """Return what takes a number of connections."""
    return COUNTS.append


def pytest_unconfigure() -> None:
    """Write it down."""
    told = {
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "connections": max(COUNTS),
    }
    directory = Path(os.environ["BENCHMARK_PROCESSES"])
    directory.mkdir(exist_ok=True)
    (directory / f"{os.getpid()}.json").write_text(json.dumps(told), encoding="utf-8")
