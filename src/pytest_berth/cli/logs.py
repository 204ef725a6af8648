"""``pytest-berth logs``: prints what a development server has logged."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_berth.cli.arguments import add_name
from pytest_berth.sources.choose import Sources
from pytest_berth.standalone import development, project
from pytest_berth.waiting import pause

if TYPE_CHECKING:
    import argparse

_LOOK_EVERY = 0.3


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("logs", help="print what a development server has logged")
    command.add_argument("service")
    command.add_argument("--follow", "-f", action="store_true", help="go on until Ctrl-C")
    add_name(command)
    command.set_defaults(run=_logs)


def _logs(given: argparse.Namespace) -> None:
    found = project.find()
    (service,) = found.named([given.service])
    there = development.find(found.root, given.name)
    server = there.server(service)
    source = Sources(found.settings, "")[server.source]
    position = source.log_position(server) if given.follow else 0.0
    sys.stdout.write(source.log(server, 0))
    while given.follow and there.is_up:
        sys.stdout.flush()
        pause(_LOOK_EVERY)
        since, position = position, source.log_position(server)
        sys.stdout.write(source.log(server, since))
