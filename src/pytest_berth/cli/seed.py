"""``pytest-berth seed``: writes a seed into a development server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.cli.arguments import add_name
from pytest_berth.cli.lines import Lines
from pytest_berth.errors import DevelopmentError
from pytest_berth.standalone import development, project

if TYPE_CHECKING:
    import argparse

    from pytest_berth.standalone.development import Development

_SEEDED_WITHIN = 3600.0


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "seed",
        help="write a seed into a development server, as it stands",
        description="Write seeds into a development server, as it stands: SQL files, or what else"
        " the service's setting for seeds may hold. `reset` goes back to before.",
        epilog="examples: pytest-berth seed demo.sql; pytest-berth seed app.seeds:demo",
    )
    command.add_argument("seeds", nargs="+", metavar="seed", help="a file, or package.module:name")
    command.add_argument("--service", help="which, where several take seeds")
    add_name(command)
    command.set_defaults(run=_seed)


def _seed(given: argparse.Namespace) -> None:
    found = project.find()
    there = development.find(found.root, given.name)
    able = [name for name, told in there.services.items() if told["seeds"]]
    if given.service:
        (service,) = found.named([given.service])
        there.told(service)
        able = [name for name in able if name == service.name]
    if len(able) != 1:
        raise _no_place_for_seeds(able, there)
    # A file is found from here; the supervisor is elsewhere.
    lines = [str(Path(each).absolute()) if Path(each).exists() else each for each in given.seeds]
    there.ask("seed", within=_SEEDED_WITHIN, service=able[0], lines=lines)
    Lines().note(f"{able[0]}: {', '.join(given.seeds)}")


def _no_place_for_seeds(able: list[str], there: Development) -> DevelopmentError:
    up = ", ".join(there.services)
    if not able:
        return DevelopmentError("no server takes seeds.", why=f"up are {up}")
    return DevelopmentError(
        "it is not clear where the seed is to go.",
        why=f"these take seeds: {', '.join(able)}",
        remedy=f"pytest-berth seed FILE --service {able[0]}",
    )
