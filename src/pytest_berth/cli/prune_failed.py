"""What ``pytest-berth prune`` removes of failed tests before its time is over."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_berth.cli.removable import Removable
from pytest_berth.reporting import kept_summary
from pytest_berth.run.reuse import kept_states, records
from pytest_berth.services import discovery

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pytest_berth.cli.removable import Removal
    from pytest_berth.run.reuse.kept_states import KeptState
    from pytest_berth.run.reuse.records import Record

_LOCKED_WITHIN = 5.0


def prune(run_ids: Collection[str], removal: Removal) -> set[str]:
    """Remove what stays of failed tests; a server with nothing left may then end.

    Args:
        run_ids: The runs; all when empty.
        removal: How.

    Returns:
        The files of what is gone, or would be.
    """
    found = [each for each in kept_states.all_of_user() if each.run_id in run_ids or not run_ids]
    gone = {each.names[-1] for each in removal.take(map(_removable, found))}
    if not removal.dry:
        for record in {each.server.reuse_record for each in found if each.file in gone} - {""}:
            _let_end(record)
    return gone


def line(state: KeptState) -> str:
    """Return the line that lists what stays of a failed test."""
    until = kept_summary.until(state)
    place = f"{state.server.service} {state.name}"
    return f"{state.run_id}  failed   {state.nodeid}  {place}, until {until}"


def without(record: Record, gone: Collection[str]) -> Record:
    """Return a server's record as it will be when what stays of failed tests has gone.

    Args:
        record: The record.
        gone: The files of what has gone.
    """
    there = [each for each in kept_states.all_of_user() if each.server.reuse_record == record.name]
    left = [each for each in there if each.file not in gone]
    if left == there:
        return record
    return dataclasses.replace(record, kept_until=_longest(left))


def _removable(state: KeptState) -> Removable:
    def remove() -> None:
        services = {service.name: service for service in discovery.find().services}
        if state.server.service not in services:
            raise LookupError(f"the service {state.server.service!r} is not installed any more")
        services[state.server.service].backend.discard_kept(state.reached, state.name)
        kept_states.forget(state)

    names = (state.run_id, state.file)
    return Removable(state.name, line(state), remove, state.since, names=names)


def _let_end(name: str) -> None:
    """Note in a server's record until when it has to stay for what is left on it."""
    of_user = records.of_user()
    with of_user.lock(name, within=_LOCKED_WITHIN):
        record = of_user.read(name)
        left = [each for each in kept_states.all_of_user() if each.server.reuse_record == name]
        if record:
            of_user.write(dataclasses.replace(record, kept_until=_longest(left)))


def _longest(states: Iterable[KeptState]) -> float:
    return max((each.until for each in states), default=0.0)
