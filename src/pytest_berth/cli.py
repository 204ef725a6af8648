"""``pytest-berth``: what can be done outside a test run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth import settings
from pytest_berth.lifecycle import run
from pytest_berth.lifecycle.manager import Manager
from pytest_berth.plugin import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Sequence


class Lines:
    """Tells what is going on as lines on standard error."""

    def note(self, text: str) -> None:
        """Print a line."""
        print(f"berth: {text}", file=sys.stderr)

    def update(self, label: str, done: int, total: int | None) -> None:
        """Print nothing: nobody waits."""


def sweep(directory: Path) -> None:
    """Remove everything that a run has left whose owner is gone.

    Args:
        directory: The run's directory.
    """
    from filelock import FileLock, Timeout

    options = [*settings.OPTIONS, *(option for service in BUILT_IN for option in service.options)]
    values = settings.defaults(directory, options)
    try:
        with FileLock(directory / "sweep.lock", blocking=False):
            Manager(run.resume(directory), values, BUILT_IN, Lines()).sweep()
    except Timeout:
        return  # another process is at it


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="pytest-berth", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("sweep", help="remove what a killed run has left")
    command.add_argument("directory", type=Path, help="the run's directory")
    command.set_defaults(run=lambda given: sweep(given.directory))
    given = parser.parse_args(arguments)
    given.run(given)


if __name__ == "__main__":
    main()
