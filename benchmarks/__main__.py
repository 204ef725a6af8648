"""Measure pytest-berth beside its peers on this machine, in one run, and print the ratios."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks import (
    chart,
    clients,
    diagnostics,
    growth,
    idle,
    memory,
    per_test,
    phases,
    private,
    repair,
    running,
    seeds,
    services,
    shop,
    shortcuts,
    starts,
    whole,
    workers,
)
from benchmarks.machine import DISK, Machine
from benchmarks.report import Table, markdown, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PAGE = Path("docs/explanation/benchmarks.md")
PICTURES = "../pictures"
WIDTH = 120
PARTS = (
    "whole",
    "phases",
    "starts",
    "shortcuts",
    "shop",
    "workers",
    "per-test",
    "repair",
    "seeds",
    "private",
    "clients",
    "services",
    "growth",
    "memory",
    "diagnostics",
    "idle",
)
# Those that measure on one server which they start.
ON_DISK = {"per-test", "repair", "private"}
# What the figures say, by hand: to be looked at again whenever the page is written.
FINDING = Path(__file__).with_name("finding.md").read_text("utf-8")
INTRODUCTION = f"""# Benchmarks

{FINDING}
## How to measure

```console
$ pip install nox
$ nox -s bench
```

This runs `python -m benchmarks` in an environment of its own; arguments after `--` go to it:
`--write` writes this page. Figures depend on the machine and on what else it does, and are to be
compared within one run only: hence the ratios."""


class Terminal(Console):
    """The terminal, as berth's sources tell their progress to it."""

    def note(self, text: str) -> None:
        """Print a line."""
        self.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, label: str, done: int, total: int | None) -> None:
        """Print the end of a download."""
        if done == total:
            self.note(label)

    def phase(self, what: str, text: str) -> None:
        """Print nothing of starts: they are what is measured."""


def main() -> int:
    """Measure, print, and write the page if asked to."""
    options = _parse_arguments()
    console = Terminal(width=None if sys.stdout.isatty() else WIDTH)
    machine = Machine(options.version, console)
    facts = machine.facts()
    for name, fact in facts.items():
        console.note(f"{name}: {fact}")
    console.print()
    tables = []
    for table in _measure(options, machine):
        show(table, console)
        tables.append(table)
    if options.write:
        options.write.write_text(_page(facts, tables), encoding="utf-8")
        for table in tables:
            if table.bars:
                picture = options.write.parent / PICTURES / f"{table.slug}.png"
                chart.picture(table.title, table.bars, picture)
        console.note(f"written: {options.write}")
    return 0


def _measure(options: argparse.Namespace, machine: Machine) -> Iterator[Table]:
    measures: dict[str, Callable[[Path], Table]] = {
        "whole": lambda parent: whole.measure(
            machine,
            parent,
            rounds=options.rounds,
            tables=options.tables,
            tests=options.tests,
        ),
        "phases": lambda parent: phases.measure(
            machine, parent, rounds=options.rounds, tables=options.tables
        ),
        "starts": lambda parent: starts.measure(
            parent,
            source=options.source or ("container" if machine.engine else "local"),
            rounds=options.rounds,
        ),
        "shortcuts": lambda parent: shortcuts.measure(
            machine,
            parent,
            source=options.source or ("local" if machine.binaries else "container"),
            rounds=options.rounds,
            tables=options.tables,
        ),
        "per-test": lambda parent: per_test.measure(
            machine,
            parent,
            source=options.source or ("local" if machine.binaries else "container"),
            rounds=options.rounds,
            tests=options.tests,
            sizes=options.sizes,
        ),
        "clients": lambda parent: clients.measure(
            parent,
            source=options.source or "local",
            rounds=options.rounds,
            tests=options.tests,
        ),
        "services": lambda parent: services.measure(
            parent, rounds=options.rounds, tests=options.tests
        ),
        "diagnostics": lambda parent: diagnostics.measure(
            parent,
            source=options.source or "local",
            rounds=options.rounds,
            tests=options.tests,
        ),
        "shop": lambda parent: shop.measure(machine, parent, rounds=options.rounds),
        "workers": lambda parent: workers.measure(
            parent,
            source=options.source or "local",
            rounds=options.rounds,
            tests=options.tests,
        ),
        "seeds": lambda parent: seeds.measure(
            machine,
            parent,
            source=options.source or ("local" if machine.binaries else "container"),
            rounds=options.rounds,
            times=options.repairs,
        ),
        "growth": lambda parent: growth.measure(
            parent, source=options.source or "local", tests=options.long
        ),
        "memory": lambda parent: memory.measure(parent, rounds=options.rounds),
        "repair": lambda _: repair.measure(
            machine,
            source=options.source or ("local" if machine.binaries else "container"),
            times=options.repairs,
        ),
        "private": lambda _: private.measure(
            machine,
            source=options.source or ("local" if machine.binaries else "container"),
            times=options.repairs,
        ),
        "idle": lambda parent: idle.measure(parent, rounds=options.idle_rounds),
        "profile": lambda parent: idle.profile(parent, rounds=options.rounds),
    }
    for part in ("profile",) if options.profile_idle else options.only:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
            Path(directory).chmod(0o755)
            try:
                yield measures[part](Path(directory))
            finally:
                running.forget_snapshots(Path(directory))


def _page(facts: dict[str, str], tables: Sequence[Table]) -> str:
    today = datetime.now(tz=timezone.utc).date().isoformat()
    measured = [f"- {name}: {fact}" for name, fact in facts.items()]
    machine = "\n".join([f"Measured on {today} by `{_command()}`:", "", *measured])
    return (
        "\n\n".join([INTRODUCTION, machine, *(markdown(table, PICTURES) for table in tables)])
        + "\n"
    )


def _command() -> str:
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)")
    add("--rounds", type=int, default=5, help="runs of each candidate (default 5)")
    add("--idle-rounds", type=int, default=40, help="runs with and without the plugin (default 40)")
    add("--tests", type=int, default=200, help="tests beyond the first one (default 200)")
    add(
        "--repairs",
        type=int,
        default=200,
        help="repairs, private databases (default 200)",
    )
    add("--long", type=int, default=5000, help="tests of the one long run (default 5000)")
    add("--tables", type=int, default=20, help="tables of the schema (default 20)")
    sizes = per_test.SIZES
    help_sizes = "numbers of tables for one more test (default 20 60 500)"
    add("--sizes", type=int, nargs="+", default=sizes, help=help_sizes)
    add("--version", default="17", help="major version of PostgreSQL (default 17)")
    help_source = f"the server of the tests in a row; {DISK}: with PostgreSQL's own settings"
    add("--source", choices=("local", "container", DISK), help=help_source)
    add("--write", nargs="?", type=Path, const=PAGE, help=f"write the page (default {PAGE})")
    add("--profile-idle", action="store_true", help="only tell what importing the plugin takes")
    options = parser.parse_args()
    if options.rounds < 1 or options.idle_rounds < 2 or options.tests < 1 or options.tables < 1:
        parser.error("use at least one round, test and table, and two idle rounds")
    unable = set(options.only) - ON_DISK if options.source == DISK else ()
    if unable:
        parser.error(f"--source {DISK} is for --only {' '.join(sorted(ON_DISK))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
