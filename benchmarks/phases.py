"""Where the time of a whole run goes: its phases, as a waterfall."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import running, whole
from benchmarks.report import Table
from benchmarks.running import FILES, Project, run_with_output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.machine import Machine

TITLE = "The phases of a run"
WIDTH = 60
_EXIT = "Python ends"


class Phase(NamedTuple):
    """Something that took time in a run.

    Attributes:
        name: What it was.
        began: Seconds since the command was launched.
        ended: Likewise.
    """

    name: str
    began: float
    ended: float


def measure(machine: Machine, parent: Path, *, rounds: int, tables: int) -> Table:
    """Measure the phases of a run of one test, by the ways to get a server."""
    projects = whole.phased(machine, tables)
    measured = running.measure(projects, parent, rounds, _phases)
    # A whole run, as phases of several do not follow upon each other.
    fastest = {
        name: min(samples, key=lambda phases: phases[-1].ended)
        for name, samples in measured.taken.items()
    }
    return Table(
        TITLE,
        f"One test, {tables} tables: of {rounds} runs the fastest. What has a service's name took"
        " place in a thread, beside the rest.",
        (*fastest, "milliseconds of"),
        _rows(list(fastest.values())),
        measured.notes,
        drawing="\n\n".join(f"{name}\n{waterfall(found)}" for name, found in fastest.items()),
    )


def _rows(runs: Sequence[Sequence[Phase]]) -> list[tuple[str, ...]]:
    """Return a row for each phase, and one for the whole; a dash where a run has no such phase."""
    took = [{phase.name: phase.ended - phase.began for phase in phases} for phases in runs]
    # In the order of the run that has most of them.
    names = dict.fromkeys(name for each in sorted(took, key=len, reverse=True) for name in each)
    rows = [
        (*(f"{each[name] * 1000:.0f}" if name in each else "-" for each in took), name)
        for name in names
    ]
    return [*rows, (*(f"{phases[-1].ended * 1000:.0f}" for phases in runs), "the whole")]


def waterfall(phases: Sequence[Phase]) -> str:
    """Return the phases as lines of text, each where it stands in the run."""
    scale = WIDTH / max(phase.ended for phase in phases)
    width = max(len(phase.name) for phase in phases)
    lines = []
    for phase in phases:
        before = round(phase.began * scale)
        bar = "█" * max(1, round(phase.ended * scale) - before)
        took = f"{(phase.ended - phase.began) * 1000:.0f} ms"
        lines.append(f"  {phase.name:{width}} {' ' * before}{bar} {took}")
    return "\n".join(lines)


def _phases(project: Project, directory: Path) -> list[Phase]:
    written = directory / "phases.json"
    launched = time.time()
    environment = {
        "BENCHMARK_LAUNCHED": str(launched),
        "BENCHMARK_PHASES": str(written),
        "PYTHONPATH": str(FILES),
    }
    run_with_output(project, directory, environment, arguments=("-p", "phases_plugin"))
    ended = time.time() - launched
    found = [Phase(*each) for each in json.loads(written.read_text(encoding="utf-8"))]
    # What comes after the last hook: pytest's own end, and the interpreter's.
    last = max(phase.ended for phase in found)
    return [*sorted(found, key=lambda phase: phase.began), Phase(_EXIT, last, ended)]
