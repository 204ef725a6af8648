"""``pytest-berth ps``: lists development servers, runs, and what runs have left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.cli import leftovers, prune_failed
from pytest_berth.run.registry import run_id
from pytest_berth.run.reuse import kept_states
from pytest_berth.standalone import development

if TYPE_CHECKING:
    import argparse

    from pytest_berth.standalone.development import Development


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "ps",
        help="list development servers, and runs with their directories and containers",
        description="List the development servers of this user, what stays of failed tests, and"
        " the directories and containers of runs: alive; kept for later runs; dead, which is"
        " proven; or unknown, as on another machine. `prune` removes what may go.",
    )
    command.set_defaults(run=lambda _: show())


def show() -> None:
    """List the runs that have left, or are using, directories and containers."""
    for there in development.of_user():
        print(_development_line(there))
    for state in kept_states.all_of_user():
        print(prune_failed.line(state))
    for each in leftovers.found():
        print(leftovers.line(each))


def _development_line(there: Development) -> str:
    named = "" if there.name == development.NAME else f" ({there.name})"
    used = f", used by {', '.join(there.users)}" if there.users else ""
    services = ", ".join(there.services)
    return f"{run_id(there.directory)}  up       {services} of {there.project}{named}{used}"
