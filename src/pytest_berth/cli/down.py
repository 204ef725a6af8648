"""``pytest-berth down``: ends a project's development servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.cli.arguments import add_name
from pytest_berth.cli.lines import Lines
from pytest_berth.standalone import development, project

if TYPE_CHECKING:
    import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "down",
        help="end this project's development servers, with their data",
        description="End the development servers of this project, with all that is in them. Those"
        " of other projects, and those of tests, are not touched.",
    )
    add_name(command)
    command.set_defaults(run=_down)


def _down(given: argparse.Namespace) -> None:
    there = development.find(project.find().root, given.name)
    users = there.users
    there.end()
    used = f"; used by {', '.join(users)}" if users else ""
    Lines().note(f"ended: {', '.join(there.services)}{used}")
