"""``pytest-berth``: what can be done outside a test run."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.cli import (
    completion,
    development_commands,
    doctor,
    install,
    prune_kept,
    run_program,
    shell,
)
from pytest_berth.cli.lines import Lines
from pytest_berth.config import options as core_options
from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import BerthError, RunEndedError, SettingsError
from pytest_berth.run import heartbeat, orphans, run
from pytest_berth.run.once_per_run import lock
from pytest_berth.run.registry import Registry, is_directory, run_id
from pytest_berth.run.reuse import expiry, kept_states, reuse_reaper
from pytest_berth.run.reuse.records import Record, Records, is_private, place
from pytest_berth.run.server_manager import Manager
from pytest_berth.services import discovery
from pytest_berth.sources import images, owned_directories, snapshots
from pytest_berth.sources.container import removal
from pytest_berth.sources.container_engine import EngineUnreachableError, connect
from pytest_berth.standalone import development

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.api import Service
    from pytest_berth.run.orphans import Orphan
    from pytest_berth.standalone.development import Development

_TRIED_FOR = 7 * 24 * 3600.0


def sweep(directory: Path) -> bool:
    """Remove everything that a run has left whose owner has provably ended.

    What cannot be removed is tried again by later runs, after a few times once an hour, for
    `_TRIED_FOR`: a server of somebody else's may be gone for good.

    Args:
        directory: The run's directory.

    Returns:
        Whether it is a run's directory, and the run has ended; else nothing is done.
    """
    from filelock import Timeout

    refused = _refusal(directory)
    if refused:
        Lines().note(f"{directory}: nothing was removed: {refused}")
        return False
    is_swept = "another process sweeps it up, or has done so"
    try:
        with (
            ignoring(Timeout, RunEndedError, why=f"{directory}: {is_swept}"),
            lock(directory, "sweep", blocking=False),
        ):
            _manager(directory).sweep()
    except Exception as error:  # whatever a driver raises
        _put_off(directory, error)
    return True


def show() -> None:
    """List the runs that have left, or are using, directories and containers."""
    for there in development.of_user():
        print(_development_line(there))
    for state in kept_states.all_of_user():
        print(prune_kept.line(state))
    for each in _leftovers():
        print(_line(each))


def prune(run_ids: Sequence[str], *, yes: bool, dry: bool = False) -> None:
    """Remove what dead runs have left, and after a question what nobody can prove to be dead.

    What stays of failed tests goes, too, and with it servers that stay for nothing else.

    Args:
        run_ids: The runs; all when empty.
        yes: Whether the answer to each question is yes.
        dry: Whether only to list what would be removed.
    """
    kept = {state.run_id for state in kept_states.all_of_user()}
    prune_kept.prune(run_ids, dry=dry)
    found = [each for each in _leftovers() if each.run_id in run_ids or not run_ids]
    named = set(run_ids)
    for unknown in named - {each.run_id for each in found} - kept:
        there_is = "`pytest-berth ps` lists what there is"
        Lines().note(f"no run and no kept server {unknown!r} is known; {there_is}")
    for each in found:
        if dry and isinstance(each.handle, Record):
            each = dataclasses.replace(each, handle=prune_kept.without(each.handle, run_ids))
        if each.state == orphans.ALIVE or not _may_end(each, is_named=each.run_id in named):
            continue
        print(_line(each))
        if dry:
            continue
        if each.state != orphans.UNKNOWN or yes or _agrees():
            _remove(each)


def end(place: Path, name: str, *, early: bool) -> bool:
    """End a kept server that no run uses.

    Args:
        place: The directory of its record.
        name: The record.
        early: Whether its time need not be over.

    Returns:
        Whether it has ended.
    """
    from filelock import Timeout

    if not is_private(place):
        return False
    try:
        return expiry.end(Records(place), name, _services(), early=early)
    except Timeout:
        return False  # a run is taking it over, or leaving it


def forget_snapshots(*, unused_for: float = 0.0, dry: bool = False) -> None:
    """Remove the snapshots of all projects; the next run of each makes its own anew.

    Args:
        unused_for: Seconds for which no run has used them; images tell only when they were made.
        dry: Whether only to list them.
    """
    until = time.time() - unused_for
    for path in snapshots.directories():
        if snapshots.used(path) <= until:
            print(path)
            if not dry:
                owned_directories.remove(path)
    try:
        engine = connect()
    except EngineUnreachableError as error:
        Lines().note(f"no container engine answers, so none is asked: {error}")
        return
    for image in images.snapshots(engine):
        if images.made(image) > until:
            continue
        print(" ".join(image.tags) or image.short_id)
        if not dry:
            with removal():  # a run may be using it
                images.remove(engine, image, force=True)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with a parser for each command."""
    parser = argparse.ArgumentParser(prog="pytest-berth", description=__doc__)
    version = f"%(prog)s {metadata.version('pytest-berth')}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True)
    doctor.add(commands)
    install.add(commands)
    development_commands.add(commands)
    run_program.add(commands)
    command = commands.add_parser("ps", help="list runs with their directories and containers")
    command.set_defaults(run=lambda _: show())
    command = commands.add_parser(
        "prune",
        help="remove what dead runs have left, and what is kept of failed tests",
        description="Remove what dead runs have left, and what is kept of failed tests: of all runs"
        " of this user's, or of those named. A kept server ends when it is named, or when nothing"
        " holds it any longer. A run that is alive is never touched.",
    )
    command.add_argument(
        "run_ids",
        nargs="*",
        metavar="run",
        help="a run's id, or a kept server's; all when left out",
    )
    command.add_argument("--yes", action="store_true", help="also what is not provably dead")
    command.add_argument("--snapshots", action="store_true", help="the snapshots of all projects")
    command.set_defaults(run=_prune)
    command.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    command.add_argument(
        "--older-than",
        type=development_commands.seconds,
        default=0.0,
        metavar="TIME",
        help="with --snapshots: only those that no run has used for so long: 7d, 12h",
    )
    command = commands.add_parser(
        "shell",
        help="open a shell in a development server, or in what stays of a failed test",
        epilog="examples: pytest-berth shell postgres; pytest-berth shell postgres -- pg_dump;"
        " pytest-berth shell --failed test_total",
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--failed",
        metavar="NODEID",
        nargs="?",
        const="",
        help="the test, or a part of its id; left out, the only one that is kept",
    )
    where.add_argument("--peek", action="store_true", help="in a test that a debugger waits in")
    command.add_argument("--service", default="", help="which, by service or by name, of several")
    command.add_argument("--print", action="store_true", help="only print the command")
    command.add_argument(
        "command",
        nargs="*",
        help="a service, where neither --failed nor --peek is given; behind `--`: a command to run"
        " there in the client's place",
    )
    development_commands.add_name(command)
    command.set_defaults(run=_shell)
    command = commands.add_parser(
        "sweep",
        help="remove what a killed run has left, by its directory; prune is for people",
        description="Remove what killed runs have left, by their directories, without a question:"
        " the reaper that each run has calls it. What is kept of failed tests, and servers that are"
        " kept for later runs, stay. By hand, `pytest-berth prune` does this and more.",
    )
    command.add_argument("directories", type=Path, nargs="+", help="the runs' directories")
    command.set_defaults(run=_sweep)
    command = commands.add_parser("end", help="end a server that is kept for later runs")
    command.add_argument("place", type=Path, help="the directory of its record")
    command.add_argument("name", help="the record")
    command.add_argument("--early", action="store_true", help="also before its time is over")
    command.set_defaults(run=_end)
    completion.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    words, instead = _apart(sys.argv[1:] if arguments is None else arguments)
    given = make_parser().parse_args(words, argparse.Namespace(instead=instead))
    try:
        given.run(given)
    except BerthError as error:
        print(f"berth: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)  # as shells tell of it
    except BrokenPipeError:
        sys.exit(1)  # who reads has seen enough


def _apart(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return what is before ``--`` and what is behind it; `argparse` takes that for an option's."""
    if "--" not in words or words[0] not in {"shell", "run"}:
        return words, ()
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _sweep(given: argparse.Namespace) -> None:
    swept = [sweep(directory) for directory in given.directories]
    if not all(swept):
        sys.exit(1)


def _refusal(directory: Path) -> str:
    """Tell why a directory may not be swept; nothing where it may, or is gone."""
    if not directory.exists():
        return ""
    if not is_directory(directory):
        return f"it is not the directory of a run of this user's in {tempfile.gettempdir()}"
    if not heartbeat.has_ended(Registry(directory).owner):
        return "its run is alive, or nothing proves that it has ended: `pytest-berth ps` shows it"
    return ""


def _put_off(directory: Path, problem: Exception) -> None:
    """Leave a run's directory to later runs, unless it is too old, or gone meanwhile."""
    try:
        began = Registry(directory).owner.stat().st_mtime
        with Registry(directory).put_off.open("a") as failures:
            failures.write(f"{problem!r}\n")
    except FileNotFoundError as error:
        debug("%s: another process has removed it: %s", directory, error)
        return
    Lines().note(f"{directory}: not all could be removed: {problem}")
    if time.time() - began > _TRIED_FOR:
        run.resume(directory).remove()


def _prune(given: argparse.Namespace) -> None:
    if given.snapshots:
        forget_snapshots(unused_for=given.older_than, dry=given.dry_run)
    elif given.older_than:
        raise SettingsError(
            "--older-than is about snapshots.",
            why="it was given without --snapshots",
            remedy="pytest-berth prune --snapshots --older-than 7d",
        )
    else:
        prune(given.run_ids, yes=given.yes, dry=given.dry_run)


def _shell(given: argparse.Namespace) -> None:
    if given.failed is None and not given.peek:
        words = [each for each in (given.service, *given.command) if each]
        instead = [*words[1:], *given.instead]
        word = words[0] if words else ""
        sys.exit(shell.open_development(word, given.name, prints=given.print, instead=instead))
    instead = [*given.command, *given.instead]
    shell.main(given.failed, given.service, prints=given.print, instead=instead)


def _end(given: argparse.Namespace) -> None:
    sys.exit(0 if end(given.place, given.name, early=given.early) else 1)


def _services() -> tuple[Service, ...]:
    """Return the services; what is broken of others must not keep ours from being removed."""
    services, problems = discovery.find()
    for problem in problems:
        Lines().note(str(problem))
    return services


def _manager(directory: Path) -> Manager:
    options = [
        *core_options.OPTIONS,
        *(option for service in _services() for option in service.options),
    ]
    values = core_options.defaults(directory, options)
    return Manager(run.resume(directory), values, _services(), Lines())


def _leftovers() -> list[Orphan]:
    found = list(orphans.directories(Path(tempfile.gettempdir())))
    found += orphans.kept()
    try:
        # Those that are kept are told of already, with the time that they have left.
        found += [each for each in orphans.containers(connect()) if each.state != orphans.KEPT]
    except EngineUnreachableError as error:
        Lines().note(f"no container engine answers, so none is asked: {error}")
    return sorted(found, key=lambda each: each.run_id)


def _development_line(there: Development) -> str:
    named = "" if there.name == development.NAME else f" ({there.name})"
    used = f", used by {', '.join(there.users)}" if there.users else ""
    services = ", ".join(there.services)
    return f"{run_id(there.directory)}  up       {services} of {there.project}{named}{used}"


def _line(leftover: Orphan) -> str:
    return f"{leftover.run_id}  {leftover.state:7}  {leftover.what}  {leftover.about}".rstrip()


def _agrees() -> bool:
    question = "  its run may live in another container or on another machine. Remove it? [y/N] "
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:
        return False


def _may_end(leftover: Orphan, *, is_named: bool) -> bool:
    """Tell of a kept server whether it is to be ended: its time is over, or it was asked for."""
    record = leftover.handle
    if not isinstance(record, Record):
        return True
    return (is_named or record.is_over) and not record.is_used


def _remove(leftover: Orphan) -> None:
    if isinstance(leftover.handle, Record):
        reuse_reaper.end_apart(place(), leftover.handle, early=True)
    elif isinstance(leftover.handle, Path):
        _manager(leftover.handle).sweep(patient=False)
    else:
        with removal():
            leftover.handle.remove(force=True, v=True)
