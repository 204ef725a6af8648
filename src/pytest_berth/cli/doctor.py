"""``pytest-berth doctor``: tells what berth finds on this machine and in this project."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from pytest_berth.cli.doctor_checks import Checks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pytest_berth.cli.doctor_checks import Line

_STATUS = {"ok": 0, "warning": 1, "failure": 2}
_STYLES = {"ok": "green", "warning": "yellow", "failure": "bold red"}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "doctor",
        help="tell what is found on this machine and in this project, and what is wrong",
        description="Look at versions, settings, engine, sources, ports, cache, room and leftovers."
        " Nothing is started, downloaded or removed, and no test is imported."
        " Exit status: 0 where all is well, 1 with warnings, 2 with failures.",
        epilog="examples: pytest-berth doctor; pytest-berth doctor postgres --json",
    )
    command.add_argument(
        "services",
        nargs="*",
        metavar="service",
        help="left out: those that the project's settings name, else those that are installed",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=lambda given: sys.exit(diagnose(given.services, as_json=given.json)))


def diagnose(services: Sequence[str], *, as_json: bool) -> int:
    """Print what each check finds, and return the exit status.

    Args:
        services: Which are looked at.
        as_json: Whether for programs.
    """
    lines = []
    for line in Checks(services).lines():
        lines.append(line)
        if not as_json:
            _print(line)
    status = max((_STATUS[line.status] for line in lines), default=0)
    if as_json:
        told = {"status": status, "checks": [line._asdict() for line in lines]}
        print(json.dumps(told, indent=2))
    return status


def _print(line: Line) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    console.print(
        Text(f"{line.status:<8}", _STYLES[line.status]), Text(f"{line.about:<10}"), end=" "
    )
    first, *further = line.text.splitlines() or [""]
    console.print(Text(first))
    remedy = line.remedy if line.status != "ok" else ""
    for text in (*further, *(f"do: {each}" for each in remedy.splitlines())):
        console.print(Text(f"{'':<20}{text}"))
