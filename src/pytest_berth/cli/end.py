"""``pytest-berth end``: ends a server that is kept for later runs; the reuse reaper calls it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.cli import leftovers
from pytest_berth.file_locks import LockHeldError
from pytest_berth.run.reuse import expiry
from pytest_berth.run.reuse.records import Records, is_private

if TYPE_CHECKING:
    import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "end",
        help="end a server that is kept for later runs, by its record; prune is for people",
        description="End a server that is kept for later runs and that no run uses: the reuse"
        " reaper calls it when its time is over. By hand, `pytest-berth prune NAME` does it.",
    )
    command.add_argument("place", type=Path, help="the directory of its record")
    command.add_argument("name", help="the record")
    command.add_argument("--early", action="store_true", help="also before its time is over")
    command.set_defaults(run=_end)


def end(place: Path, name: str, *, early: bool) -> bool:
    """End a kept server that no run uses.

    Args:
        place: The directory of its record.
        name: The record.
        early: Whether its time need not be over.

    Returns:
        Whether it has ended.
    """
    if not is_private(place):
        return False
    try:
        return expiry.end(Records(place), name, leftovers.services(), early=early)
    except LockHeldError:
        return False  # a run is taking it over, or leaving it


def _end(given: argparse.Namespace) -> None:
    sys.exit(0 if end(given.place, given.name, early=given.early) else 1)
