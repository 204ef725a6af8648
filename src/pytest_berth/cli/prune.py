"""``pytest-berth prune``: removes what is not needed any more, if it is provably berth's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_berth.cli import arguments, leftovers, prune_cache, prune_failed, prune_leftovers
from pytest_berth.cli.lines import Lines
from pytest_berth.cli.removable import Removal
from pytest_berth.errors import SettingsError
from pytest_berth.run import orphans
from pytest_berth.run.reuse import kept_states
from pytest_berth.run.reuse.records import Record

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator, Sequence

    from pytest_berth.cli.removable import Removable

DEAD, FAILED, KEPT, SNAPSHOTS, DOWNLOADS = "dead", "failed", "kept", "snapshots", "downloads"
_ABOUT = {
    DEAD: "directories and containers that dead runs have left",
    FAILED: "what is kept of failed tests: --berth-keep-failed",
    KEPT: "servers that are kept for later runs: berth_keep",
    SNAPSHOTS: "the snapshots of all projects",
    DOWNLOADS: "downloaded server files",
}
_OF_RUNS = {DEAD, FAILED, KEPT}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "prune",
        help="remove what dead runs have left, and what is kept: by kind, by age",
        description="Remove what is not needed any more, if it is provably berth's and this"
        " user's. Without options: what dead runs have left, and what is kept of failed tests;"
        " of all runs, or of those named. A kept server ends when it is named, or when nothing"
        " holds it any longer. With --older-than: everything of all kinds that was not used for"
        " so long. A run that is alive is never touched, and what may be in use only after a"
        " question: without a terminal, it stays.",
        epilog="examples: pytest-berth prune; pytest-berth prune --older-than 30d --dry-run;"
        " pytest-berth prune --snapshots --downloads --older-than '2 weeks'",
    )
    command.add_argument(
        "run_ids",
        nargs="*",
        metavar="run",
        help="a run's id, or a kept server's name, as `pytest-berth ps` lists them",
    )
    for kind, about in _ABOUT.items():
        command.add_argument(
            f"--{kind}", dest="kinds", action="append_const", const=kind, help=f"only {about}"
        )
    command.add_argument("--yes", action="store_true", help="also what may be in use")
    command.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    command.add_argument(
        "--older-than",
        type=arguments.seconds,
        metavar="TIME",
        help="only what was not used for so long: 30d, 12h, '2 weeks'",
    )
    command.set_defaults(run=_run)


def prune(
    run_ids: Sequence[str], removal: Removal, kinds: Collection[str] = (), *, by_age: bool = False
) -> None:
    """Remove what nobody needs any more, and after a question what may be in use.

    Args:
        run_ids: The runs, and the names of kept servers; all when empty.
        removal: How.
        kinds: Which kinds of things; the usual ones when empty.
        by_age: Whether all kinds are the usual ones, as their age says whether they are needed.
    """
    usual = _OF_RUNS if run_ids or not by_age else set(_ABOUT)
    wanted = set(kinds) or usual
    known = {state.run_id for state in kept_states.all_of_user()} if run_ids else set()
    gone = prune_failed.prune(run_ids, removal) if FAILED in wanted else set()
    if wanted & {DEAD, KEPT}:
        found = [each for each in leftovers.found() if each.run_id in run_ids or not run_ids]
        known |= {each.run_id for each in found}
        ends_all = bool(run_ids) or by_age or KEPT in kinds
        removal.take(_of_runs(found, wanted, gone, removal, ends_all=ends_all, named=run_ids))
        for unknown in sorted(set(run_ids) - known):
            there_is = "`pytest-berth ps` lists what there is"
            Lines().note(f"no run and no kept server {unknown!r} is known; {there_is}")
    if SNAPSHOTS in wanted:
        removal.take(prune_cache.stored_snapshots())
    if DOWNLOADS in wanted:
        removal.take(prune_cache.downloads())


def _of_runs(
    found: Sequence[orphans.Orphan],
    wanted: Collection[str],
    gone: Collection[str],
    removal: Removal,
    *,
    ends_all: bool,
    named: Collection[str],
) -> Iterator[Removable]:
    """Yield what may go of runs: of this user's, or of those that are named."""
    for each in found:
        record = each.handle
        if isinstance(record, Record):
            if removal.dry:
                record = prune_failed.without(record, gone)
            if KEPT in wanted and (ends_all or record.is_over) and not record.is_used:
                yield prune_leftovers.of_record(record, leftovers.line(each))
        elif DEAD in wanted and each.state != orphans.ALIVE and (each.is_ours or named):
            yield prune_leftovers.of_run(each)


def _run(given: argparse.Namespace) -> None:
    kinds = set(given.kinds or ())
    if given.run_ids and kinds - _OF_RUNS:
        raise SettingsError(
            "snapshots and downloads are of no single run.",
            why=f"{' '.join(given.run_ids)} was given with --{min(kinds - _OF_RUNS)}",
            remedy="leave the one or the other out",
        )
    removal = Removal(given.older_than or 0.0, yes=given.yes, dry=given.dry_run)
    prune(given.run_ids, removal, kinds, by_age=given.older_than is not None)
    removal.tell()
    if set(removal.refused) & set(given.run_ids):
        sys.exit(1)  # asked for by name, and still there
