"""``pytest-berth install``: has images and files there before a run needs them."""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.api import LocalRequest
from pytest_berth.cli import parts
from pytest_berth.cli.lines import Bars
from pytest_berth.errors import NoSourceError
from pytest_berth.sources import os_account
from pytest_berth.sources.choose import Sources
from pytest_berth.standalone import project

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from pytest_berth.api import Service, Source
    from pytest_berth.cli.parts import Part
    from pytest_berth.config.options import Settings


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "install",
        help="fetch images and server files ahead of time; --check tells whether all is there",
        description="Fetch what the services of this project are served from: the image where a"
        " container engine answers, else the files of the local server. Exit status: 0; 1 where"
        " something cannot be had, or --check finds something missing.",
        epilog="examples: pytest-berth install; pytest-berth install postgres:16 redis;"
        " BERTH_SOURCE=local pytest-berth install kafka; pytest-berth install --check",
    )
    command.add_argument(
        "services",
        nargs="*",
        metavar="service[:version]",
        help="left out: those that the project's settings name, else those that are installed",
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="only tell where everything is")
    what.add_argument("--check", action="store_true", help="only tell what is missing")
    command.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> None:
    missing = False
    for service, source, settings in _wanted(given.services):
        if not (given.list or given.check):
            _fetch(service, source, settings)
        needed = parts.of(service, source, settings)
        missing = missing or not all(part.is_there for part in needed)
        for part in parts.together(needed):
            if not (given.check and part.is_there):
                print(_line(service, source, part))
    if missing and not given.list:
        print("berth: something is missing; do: pytest-berth install", file=sys.stderr)
        sys.exit(1)


def _wanted(words: Sequence[str]) -> Iterator[tuple[Service, Source, Settings]]:
    """Yield each service, with its source and the settings of the version that is meant.

    Raises:
        SettingsError: A setting is wrong, or there is no such service.
        NoSourceError: No source can serve it.
    """
    found = project.find()
    found.require_sound()
    named = [word.partition(":")[::2] for word in words]
    versions = named or [(service.name, "") for service in found.in_question()]
    for name, version in versions:
        (service,) = found.named([name])
        of_version = found
        if version:
            of_version = project.find({service.version.name: version})
            of_version.require_sound()
        settings = of_version.settings
        yield service, _source(service, settings), settings


def _source(service: Service, settings: Settings) -> Source:
    able, obstacles = parts.serving(service, settings, Sources(settings, ""))
    if not able:
        raise NoSourceError(
            f"no source can serve {service.name}.",
            why="\n".join(f"{name}: {each.what} {each.why}".rstrip() for name, each in obstacles),
            remedy="\n".join(f"{name}: {each.remedy}" for name, each in obstacles),
        )
    return able[0]


def _fetch(service: Service, source: Source, settings: Settings) -> None:
    """Have everything there that a start takes.

    Raises:
        NoSourceError: The image could not be pulled.
        ArtifactError: A file could not be downloaded.
    """
    with closing(Bars()) as progress:
        obstacle = source.obstacle(service, progress)
        if obstacle:
            raise obstacle
        if source.name != "local" or all(p.is_there for p in parts.of(service, source, settings)):
            return
        # A local process is described only when its files are there. None is started.
        with tempfile.TemporaryDirectory(prefix="berth-install-") as place:
            os_account.give(Path(place))
            account = service.backend.account(settings)
            request = LocalRequest(Path(place), 0, account, progress, lambda: 0)
            service.backend.local(settings, request)


def _line(service: Service, source: Source, part: Part) -> str:
    state = "there  " if part.is_there else "missing"
    size = f", {part.size / 1e6:.0f} MB" if part.size else ""
    return (
        f"{state}  {service.name:<10}  {source.name:<9}  {part.about}{size}  {part.place}".rstrip()
    )
