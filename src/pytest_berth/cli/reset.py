"""``pytest-berth reset``: puts development servers back to schema and seeds."""

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
        "reset",
        help="put the development servers back to schema and seeds, as `up` has made them",
        description="Put all development servers of this project back to what they held when they"
        " were started: schema and seeds. Programs stay connected; their open transactions end."
        " `down` and `up` apply a schema that has changed meanwhile.",
    )
    add_name(command)
    command.set_defaults(run=_reset)


def _reset(given: argparse.Namespace) -> None:
    there = development.find(project.find().root, given.name)
    there.ask("reset")
    Lines().note(f"reset: {', '.join(there.services)}")
