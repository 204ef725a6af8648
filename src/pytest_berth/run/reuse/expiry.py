"""Ending kept servers: when their time is over, or when somebody says so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.config import options as core_options
from pytest_berth.run.reuse import kept_states, records, reuse_reaper
from pytest_berth.sources import snapshots
from pytest_berth.sources.choose import Sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.api import Service
    from pytest_berth.run.reuse.records import Record, Records

_LOCKED_WITHIN = 5.0


def end(there: Records, name: str, services: Sequence[Service], *, early: bool) -> bool:
    """End a server that no run uses, and forget it.

    Args:
        there: The user's records.
        name: The server's record.
        services: The kinds of servers that there are.
        early: Whether its time need not be over.

    Returns:
        Whether it has ended, now or before; else it stays.

    Raises:
        LockHeldError: A run is taking it over, or leaving it.
    """
    with there.lock(name, within=_LOCKED_WITHIN):
        record = there.read(name)
        if record is None:
            return True
        if record.is_used or not (early or record.is_over):
            return False
        _stop(record, services)
        there.remove(record)
        return True


def end_and_tell(project: Path) -> int:
    """End the servers that are kept for a project, and print what has become of each.

    Returns:
        An exit status: whether any stays.
    """
    found = [record for record in records.all_of_user() if record.project == str(project)]
    kept, stays = kept_states.all_of_user(), False
    for record in found:
        of_record = [each for each in kept if each.server.reuse_record == record.name]
        tests = len({each.nodeid for each in of_record})
        dropped = (
            f", with what was kept of {tests} failed test{'s' * (tests != 1)}" if tests else ""
        )
        ended = reuse_reaper.end_apart(records.place(), record, early=True)
        stays = stays or not ended
        print(f"berth: {record}: {f'ended{dropped}' if ended else 'stays, as a run uses it'}")
    if not found:
        print(f"berth: no server is kept for {project}")
    return int(stays)


def _stop(record: Record, services: Sequence[Service]) -> None:
    """Stop a server, leaving a snapshot of it if it is fit for one."""
    server, kinds = record.server, {service.name: service for service in services}
    options = (*core_options.OPTIONS, *(option for each in services for option in each.options))
    defaults = core_options.defaults(Path(record.project), options)
    source = Sources(defaults, "")[server.source]
    if server.service in kinds:
        try:
            snapshots.take(kinds[server.service], source, server, defaults, record.last_run)
        except Exception as error:  # told, and the server still goes
            print(f"berth: {record} could not be kept as a snapshot: {error}", file=sys.stderr)
    source.stop(server)
