"""``pytest-berth url``: prints the address of a development server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.cli.arguments import add_name
from pytest_berth.standalone import development, project

if TYPE_CHECKING:
    import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "url",
        help="print the address of a development server, with its password",
        epilog="examples: pytest-berth url redis; psql $(pytest-berth url pg_dsn)",
    )
    command.add_argument(
        "service", help="a service, or a placeholder of berth_export: postgres, pg_dsn"
    )
    add_name(command)
    command.set_defaults(run=_url)


def _url(given: argparse.Namespace) -> None:
    found = project.find()
    there = development.find(found.root, given.name)
    if given.service in there.values:
        print(there.values[given.service])
        return
    (service,) = found.named([given.service])
    print(there.told(service)["url"])
