"""What runs have left on this machine and on the engine: for `ps`, `prune` and `sweep`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.cli.lines import Lines
from pytest_berth.config import options as core_options
from pytest_berth.run import orphans, run
from pytest_berth.run.server_manager import Manager
from pytest_berth.services import discovery
from pytest_berth.sources.container_engine import EngineUnreachableError, connect

if TYPE_CHECKING:
    from pytest_berth.api import Service
    from pytest_berth.run.orphans import Orphan


def found() -> list[Orphan]:
    """Return the directories and containers of runs, and the servers that are kept, by run."""
    there = list(orphans.directories(Path(tempfile.gettempdir())))
    there += orphans.kept()
    try:
        # Those that are kept are told of already, with the time that they have left.
        there += [each for each in orphans.containers(connect()) if each.state != orphans.KEPT]
    except EngineUnreachableError as error:
        Lines().note(f"no container engine answers, so none is asked: {error}")
    return sorted(there, key=lambda each: each.run_id)


def line(leftover: Orphan) -> str:
    """Return the line that lists it."""
    return f"{leftover.run_id}  {leftover.state:7}  {leftover.what}  {leftover.about}".rstrip()


def manager(directory: Path) -> Manager:
    """Return who ends what a run has started, by the run's directory."""
    of_services = (option for each in services() for option in each.options)
    values = core_options.defaults(directory, [*core_options.OPTIONS, *of_services])
    return Manager(run.resume(directory), values, services(), Lines())


def services() -> tuple[Service, ...]:
    """Return the services; what is broken of others must not keep ours from being removed."""
    known, problems = discovery.find()
    for problem in problems:
        Lines().note(str(problem))
    return known
