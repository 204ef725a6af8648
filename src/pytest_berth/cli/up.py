"""``pytest-berth up``: starts servers for development, and lets them stay."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pytest_berth.cli.arguments import add_name, sound_project
from pytest_berth.cli.lines import Bars
from pytest_berth.config.options import mask
from pytest_berth.standalone import development

if TYPE_CHECKING:
    import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "up",
        help="start servers for development, with schema and seeds, and let them stay",
        description="Start servers for development, beside and apart from those of tests: with the"
        " project's settings, schema and seeds. They stay until `pytest-berth down`.",
        epilog="examples: pytest-berth up; pytest-berth up postgres redis --name demo;"
        ' eval "$(pytest-berth env)"',
    )
    command.add_argument("services", nargs="*", metavar="service", help=_SERVICES)
    add_name(command)
    command.set_defaults(run=_up)


_SERVICES = "left out: those that berth_export and berth_autouse name"


def _up(given: argparse.Namespace) -> None:
    found = sound_project()
    services = found.named(given.services)
    with closing(Bars()) as progress:
        there = development.ensure(found, services, progress, name=given.name)
    for name, told in there.services.items():
        print(f"{name}  {mask(told['url'])}")
