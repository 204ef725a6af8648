"""Tests of several kinds in turn; before every so many, what the process has is written down."""

from __future__ import annotations

import gc
import itertools
import json
import os
import threading
import time
from pathlib import Path

import psutil
import pytest

EVERY = int(os.environ["BENCHMARK_EVERY"])
PROCESS = psutil.Process()
READINGS: list[dict[str, float]] = []
COUNT = itertools.count()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests of each kind in turn."""
    items.sort(key=_number)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart() -> None:
    """Read before every so many tests: after the last, fixtures of the session are gone."""
    if next(COUNT) % EVERY == 0:
        read()


def _number(item: pytest.Item) -> int:
    return int(item.name.rpartition("[")[2].strip("]"))


def read() -> None:
    """Write down what the process has now; the time that this takes is no test's."""
    now, cpu = time.perf_counter(), time.process_time()
    gc.collect()
    with PROCESS.oneshot():
        reading = {
            "memory": PROCESS.memory_info().rss,
            "descriptors": PROCESS.num_fds(),
            "connections": len(PROCESS.net_connections("all")),
            "threads": threading.active_count(),
            "objects": len(gc.get_objects()),
        }
    READINGS.append(
        {
            **reading,
            "ended": now,
            "ended_cpu": cpu,
            "began": time.perf_counter(),
            "began_cpu": time.process_time(),
        }
    )
    written = Path(os.environ["BENCHMARK_READINGS"])
    written.write_text(json.dumps(READINGS), encoding="utf-8")
