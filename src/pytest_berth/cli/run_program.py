"""``pytest-berth run``: runs a program with development servers and their environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from pytest_berth.cli.arguments import add_name, seconds, sound_project
from pytest_berth.cli.lines import Bars
from pytest_berth.config.options import KEEP
from pytest_berth.errors import DevelopmentError
from pytest_berth.standalone import development

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pytest_berth.standalone.development import Development
    from pytest_berth.standalone.project import Project

_NOT_FOUND = 127


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "run",
        help="run a program with development servers: their environment, schema and seeds",
        usage="pytest-berth run [service ...] [--fresh] [--keep TIME] [--name NAME] -- program ...",
        description="Run a program with development servers of this project, which are started"
        " where they are not up, in the environment that berth_export sets. The program takes the"
        " place of this command: signals and exit status are its own. Servers that were started"
        " for it end with it, also where it is killed, or stay for --keep, berth_keep.",
        epilog="examples: pytest-berth run -- uvicorn app:app --reload;"
        " pytest-berth run postgres --keep 8h -- python manage.py runserver",
    )
    command.add_argument(
        "services", nargs="*", metavar="service", help="left out: those that berth_export names"
    )
    command.add_argument("--fresh", action="store_true", help="end servers that are up before")
    command.add_argument(
        "--keep",
        type=seconds,
        metavar="TIME",
        help="how long they stay when no program uses them: 8h, 15m (default berth_keep)",
    )
    add_name(command)
    command.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> None:
    if not given.instead:
        raise DevelopmentError(
            "no program is given to be run.",
            why="it stands behind `--`",
            remedy="pytest-berth run -- uvicorn app:app --reload",
        )
    program = shutil.which(given.instead[0])
    if program is None:
        print(f"berth: {given.instead[0]}: there is no such program on the PATH", file=sys.stderr)
        sys.exit(_NOT_FOUND)
    found = sound_project()
    keep = found.settings[KEEP].total_seconds() if given.keep is None else given.keep
    if given.fresh:
        _end(found, given.name)
    with closing(Bars()) as progress:
        there = development.ensure(
            found, found.named(given.services), progress, name=given.name, keep=keep, joins=True
        )
    _become(program, given.instead, there)


def _end(found: Project, name: str) -> None:
    """End the servers that are up, for new ones in their place; no program can join meanwhile.

    Raises:
        DevelopmentError: A program uses them.
    """
    with development.lock(found.root, name, within=development.STARTED_WITHIN):
        for there in development.of_user():
            if (there.project, there.name) != (str(found.root), name):
                continue
            if there.users:
                raise DevelopmentError(
                    "the development servers are in use.",
                    why=f"by the process{'es' * (len(there.users) > 1)} {', '.join(there.users)}",
                    remedy="end these first, or take others: --name another",
                )
            there.end()


def _become(program: str, command: Sequence[str], there: Development) -> None:
    """Let the program take this process over, so that it counts as the user of the servers."""
    environment = {**os.environ, **there.environment}
    if os.name == "nt":  # where nothing is taken over, this process waits
        sys.exit(subprocess.call([program, *command[1:]], env=environment))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, [*command], environment)
