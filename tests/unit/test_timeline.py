"""What took how long: noted by each process, and known to the run's owner."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from pytest_berth.run.registry import is_known
from pytest_berth.run.run import Run

if TYPE_CHECKING:
    from pathlib import Path


def test_the_owner_learns_what_took_how_long_in_its_workers(tmp_path: Path) -> None:
    owner = Run("a1b2", "main", directory=tmp_path)
    worker = Run("a1b2", "gw0", tmp_path, began=owner.began)
    owner.timeline.add("start", "postgres", 1.0, end=3.0, detail="local")
    with worker.timeline.measured("clone", "postgres"):
        pass
    worker.timeline.add("clean up", "postgres", 0.5, end=0.75, test="t.py::t", items=["users"])
    worker.timeline.hand_over()

    assert worker.timeline.events == []
    assert [path.name for path in tmp_path.iterdir() if not is_known(path.name)] == []
    owner.timeline.collect(owner.registry)
    owner.timeline.collect(owner.registry)
    found = [(each.what, each.worker) for each in owner.timeline.events]
    assert sorted(found) == [("clean up", "gw0"), ("clone", "gw0"), ("start", "main")]
    starts = [each.start for each in owner.timeline.events]
    assert starts == sorted(starts)
    (cleaned,) = (each for each in owner.timeline.events if each.what == "clean up")
    assert (cleaned.took, cleaned.test, cleaned.items) == (0.25, "t.py::t", ["users"])


def test_a_worker_hands_over_what_has_become_much(tmp_path: Path) -> None:
    worker = Run("a1b2", "gw0", tmp_path, began=0.0)
    for _ in range(600):
        worker.timeline.add("set up", "redis", 0.0)

    assert len(worker.timeline.events) == 100


def test_what_fails_is_noted_and_has_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pytest_berth")
    run = Run("a1b2", "main", directory=tmp_path)
    with pytest.raises(KeyError), run.timeline.measured("start", "redis", detail="local"):
        raise KeyError

    (event,) = run.timeline.events
    assert event.failed
    (line,) = caplog.messages
    assert line.startswith("redis: start failed, and took 0.")
    assert line.endswith(" s (local)")
