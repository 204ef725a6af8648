"""``pytest-berth prune``: removes what stays of failed tests before its time is over."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from pytest_berth.reporting import kept_summary
from pytest_berth.run.reuse import kept_states, records
from pytest_berth.services import discovery

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_berth.run.reuse.kept_states import KeptState
    from pytest_berth.run.reuse.records import Record

_LOCKED_WITHIN = 5.0


def prune(run_ids: Collection[str], *, dry: bool) -> None:
    """Remove what stays of failed tests, and print each; a server with nothing left may then end.

    Args:
        run_ids: The runs; all when empty.
        dry: Whether only to print them.
    """
    services = {service.name: service for service in discovery.find().services}
    found = [each for each in kept_states.all_of_user() if each.run_id in run_ids or not run_ids]
    for state in found:
        print(line(state))
        if dry or state.server.service not in services:
            continue
        try:
            services[state.server.service].backend.discard_kept(state.reached, state.name)
        except Exception as error:  # told, and the others still go
            said = next(iter(str(error).splitlines()), type(error).__name__)
            print(f"berth: {state.name} could not be removed: {said}", file=sys.stderr)
            continue
        kept_states.forget(state)
    if not dry:
        for record in {state.server.reuse_record for state in found} - {""}:
            _let_end(record)


def line(state: KeptState) -> str:
    """Return the line that lists what stays of a failed test."""
    until = kept_summary.until(state)
    place = f"{state.server.service} {state.name}"
    return f"{state.run_id}  failed   {state.nodeid}  {place}, until {until}"


def without(record: Record, run_ids: Collection[str]) -> Record:
    """Return a server's record as it will be when what stays of failed tests has gone.

    Args:
        record: The record.
        run_ids: The runs of the tests; all when empty.
    """
    there = [each for each in kept_states.all_of_user() if each.server.reuse_record == record.name]
    left = [each for each in there if run_ids and each.run_id not in run_ids]
    if left == there:
        return record
    return dataclasses.replace(record, kept_until=max((each.until for each in left), default=0.0))


def _let_end(name: str) -> None:
    """Note in a server's record until when it has to stay for what is left on it."""
    of_user = records.of_user()
    with of_user.lock(name, within=_LOCKED_WITHIN):
        record = of_user.read(name)
        left = [each for each in kept_states.all_of_user() if each.server.reuse_record == name]
        if record:
            until = max((each.until for each in left), default=0.0)
            of_user.write(dataclasses.replace(record, kept_until=until))
