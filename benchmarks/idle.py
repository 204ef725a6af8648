"""What the plugin takes where no test needs it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, TypeVar

from benchmarks import running
from benchmarks.report import Table, milliseconds, ratio
from benchmarks.running import Project, run, run_with_output

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.running import Measured

T = TypeVar("T")
TITLE = "The idle plugin"
GOAL = 0.005
WITH = Project("with pytest-berth", "test_unit.py", frozenset({"berth"}))
WITHOUT = Project("with -p no:berth", "test_unit.py")
_IMPORT = re.compile(r"import time:\s+(?P<own>\d+) \|\s+(?P<all>\d+) \|(?P<depth> +)(?P<name>\S+)")


@dataclass(frozen=True)
class Import:
    """A line of ``-X importtime``, in seconds."""

    name: str
    own: float
    cumulative: float


def measure(parent: Path, *, rounds: int) -> Table:
    """Measure pytest on one unit test with the plugin and without, by turns."""
    samples = _all(running.measure((WITH, WITHOUT), parent, rounds, run))
    wall = {name: [sample.wall for sample in taken] for name, taken in samples.items()}
    cpu = {name: [sample.cpu for sample in taken] for name, taken in samples.items()}
    return Table(
        TITLE,
        f"pytest on one test that needs nothing: {rounds} runs each way, in turn, every other"
        " plugin switched off. A difference is the median of the differences of neighbouring"
        " runs, and in brackets are their quartiles. Processor time suffers less from whatever"
        f" else the machine does. The goal is {milliseconds(GOAL)} or less.",
        ("with / without", "difference", "with", "without", "time"),
        [_row("wall clock", wall), _row("processor", cpu)],
    )


def profile(parent: Path, *, rounds: int) -> Table:
    """Tell which modules the idle plugin's import brings, and what each takes."""
    imports = _all(running.measure((WITH, WITHOUT), parent, rounds, _imports))
    taken, others = imports[WITH.name], imports[WITHOUT.name][0]
    brought = [
        Import(
            name,
            median(each[name].own for each in taken if name in each),
            median(each[name].cumulative for each in taken if name in each),
        )
        for name in taken[0]
        if name not in others
    ]
    brought.sort(key=lambda module: -module.own)
    total = sum(module.own for module in brought)
    return Table(
        "Imports of the idle plugin",
        f"`-X importtime`, which itself slows imports: medians of {rounds} runs, of the modules"
        " that pytest does not import without the plugin. It does not see the plugin's own module,"
        " which pytest imports by another way.",
        ("own", "with what it imports", "module"),
        [
            (milliseconds(total), "", f"all {len(brought)}"),
            *((milliseconds(m.own), milliseconds(m.cumulative), m.name) for m in brought),
        ],
    )


def _all(measured: Measured[T]) -> Mapping[str, Sequence[T]]:
    """Return the samples, of which none may be missing: they are compared in pairs."""
    if measured.notes:
        raise RuntimeError("\n".join(measured.notes))
    return measured.taken


def _row(name: str, times: dict[str, list[float]]) -> Sequence[str]:
    pairs = zip(times[WITH.name], times[WITHOUT.name], strict=True)
    differences = [one - other for one, other in pairs]
    low, _, high = quantiles(differences, n=4)
    with_, without = median(times[WITH.name]), median(times[WITHOUT.name])
    spread = f"{milliseconds(median(differences))} ({low * 1000:.1f} to {high * 1000:.1f})"
    return (ratio(with_, without), spread, milliseconds(with_), milliseconds(without), name)


def _imports(project: Project, directory: Path) -> dict[str, Import]:
    output = run_with_output(project, directory, {}, ("-X", "importtime"))[1]
    return {module.name: module for module in _parse(output.splitlines())}


def _parse(lines: Iterable[str]) -> Iterable[Import]:
    for line in lines:
        found = _IMPORT.match(line)
        if found:
            own, cumulative = int(found["own"]), int(found["all"])
            yield Import(found["name"], own / 1e6, cumulative / 1e6)
