"""A plugin that writes down when each phase of a run began and ended, as JSON."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

# When the command was launched, in seconds since the epoch.
LAUNCHED = float(os.environ["BENCHMARK_LAUNCHED"])
PHASES: list[tuple[str, float, float]] = []
_COUNTED = {"choose", "launch", "answer", "reattach", "template", "clone"}


def now() -> float:
    """Return the seconds since the launch."""
    return time.time() - LAUNCHED


def note(phase: str, began: float) -> None:
    """Write down a phase that ends now."""
    PHASES.append((phase, began, now()))


note("Python starts, and imports pytest", 0.0)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Note the collection, and what came before it."""
    note("pytest reads settings", PHASES[-1][2])
    began = now()
    result = yield
    note("tests are collected: the application is imported", began)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Note how long the test waits for its server and database."""
    note("what starts and tests need is imported", PHASES[-1][2])
    began = now()
    result = yield
    note("the test waits for its fixtures", began)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish() -> Generator[None, object, object]:
    """Note the test."""
    note("the test, and its clean slate", PHASES[-1][2])
    began = now()
    result = yield
    note("results are printed", began)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_unconfigure(config: pytest.Config) -> Generator[None, object, object]:
    """Note the end, and what took place in threads, and leave all that to the benchmark."""
    began = now()
    result = yield
    note("servers and connections are ended", began)
    if config.pluginmanager.has_plugin("berth-active"):
        from pytest_berth.run.plugin_state import PLUGIN_STATE

        run = config.stash[PLUGIN_STATE].run
        later = run.began - LAUNCHED
        PHASES.extend(
            (f"{event.service}: {event.what}", event.start + later, event.end + later)
            for event in run.timeline.events
            if event.what in _COUNTED
        )
    Path(os.environ["BENCHMARK_PHASES"]).write_text(json.dumps(PHASES), encoding="utf-8")
    return result
