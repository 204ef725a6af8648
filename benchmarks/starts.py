"""What servers that start side by side, and ahead of the tests that need them, take."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.report import Table, ratio, seconds
from benchmarks.running import Project, run
from pytest_berth.sources.artifacts import cache_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TITLE = "Starts"
BUSY = 0.5
_SERVICES = ("postgres", "redis", "kafka")
_ALL = "all three, side by side"
_ONE_BY_ONE = "all three, each when its test comes"
_KEPT, _ALL_KEPT = "postgres, kept", "all three, kept"
_BEHIND = f"postgres behind {BUSY:g} s of unit tests"
_AFTER = f"postgres after {BUSY:g} s of unit tests"
# As images of Python often have it: what pytest compiles of tests is compiled each time.
_NO_BYTECODE = ", PYTHONDONTWRITEBYTECODE"
_WITHOUT_BYTECODE = {"postgres": "postgres", _ALL: " ".join(_SERVICES)}


def measure(parent: Path, *, source: str, rounds: int) -> Table:
    """Measure whole runs that start one server, three, or one behind unit tests."""
    projects = [
        *(_project(name, name, source) for name in _SERVICES),
        _project(_ALL, " ".join(_SERVICES), source),
        _project(_ONE_BY_ONE, " ".join(_SERVICES), source, ahead=False),
        _project(_KEPT, "postgres", source, kept=True),
        _project(_ALL_KEPT, " ".join(_SERVICES), source, kept=True),
        _project(_BEHIND, "postgres", source, busy=BUSY),
        _project(_AFTER, "postgres", source, busy=BUSY, ahead=False),
        *(
            _project(f"{name}{_NO_BYTECODE}", services, source, bytecode=False)
            for name, services in _WITHOUT_BYTECODE.items()
        ),
        _project(f"{_KEPT}{_NO_BYTECODE}", "postgres", source, kept=True, bytecode=False),
    ]
    measured = running.measure(projects, parent, rounds, lambda *which: run(*which).wall)
    medians = {name: median(values) for name, values in measured.taken.items()}
    slowest = max((medians[name] for name in _SERVICES if name in medians), default=None)
    bases = dict.fromkeys((*_SERVICES, _ALL, _ONE_BY_ONE), slowest)
    bases |= {_ALL_KEPT: medians.get(_ALL)}
    bases |= dict.fromkeys((_KEPT, _BEHIND, _AFTER), medians.get("postgres"))
    with_bytecode = (*_WITHOUT_BYTECODE, _KEPT)
    bases |= {f"{name}{_NO_BYTECODE}": medians.get(name) for name in with_bytecode}
    return Table(
        TITLE,
        f"The whole of `python -m pytest`, medians of {rounds} runs in turn ({source}). Several"
        " services are compared with the slowest of them alone: the goal is 1.25 x or less."
        f" Unit tests of {BUSY:g} s are compared with no unit tests, and kept servers with started"
        " ones; without bytecode (an environment that forbids to write it), with the same with"
        " it.",
        ("ratio", "median", "fastest", "slowest", "what starts"),
        [_row(name, values, medians[name], bases[name]) for name, values in measured.taken.items()],
        measured.notes,
    )


def _row(name: str, values: Sequence[float], middle: float, base: float | None) -> tuple[str, ...]:
    return (ratio(middle, base), *map(seconds, (middle, min(values), max(values))), name)


def _project(
    name: str,
    services: str,
    source: str,
    *,
    busy: float = 0.0,
    ahead: bool = True,
    kept: bool = False,
    bytecode: bool = True,
) -> Project:
    ini = f"berth_source = {source}\nberth_start_ahead = {str(ahead).lower()}\n"
    # As on a developer's machine, also where this runs in a container.
    ini += "berth_wait_at_end = off\n"
    ini += "berth_keep = 10m\n" * kept
    end = ("--berth-stop",) * kept
    environment = {
        "BENCHMARK_SERVICES": services,
        "BENCHMARK_BUSY": str(busy),
        # The harness hides the user's own directory, and with it what has been downloaded.
        "BERTH_CACHE": str(cache_directory()),
        **({} if bytecode else {"PYTHONDONTWRITEBYTECODE": "1"}),
    }
    plugins = frozenset({"berth"})
    return Project(name, "test_starts.py", plugins, ini=ini, environment=environment, end=end)
