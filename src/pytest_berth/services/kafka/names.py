"""The names of a run's topics and groups.

Every name carries the run's id, which no other run has: what bears it was made by this run, and
on a broker that is not ours only that is ever deleted without being allowed by name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_berth.errors import NotOursError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 249
# A time or a thread, in brackets or not, and the level.
_ENTRY = r"(\[[^\]]*\]|\S+) (?P<level>TRACE|DEBUG|INFO|WARN|ERROR|FATAL) "
_NOTES = {"TRACE", "DEBUG", "INFO"}


def run_prefix(run_id: str) -> str:
    """Return what every name of a run begins with."""
    return f"berth-{run_id}-"


def prefix(run_id: str, worker: str) -> str:
    """Return what every name of a worker begins with; the value of ``{kafka_prefix}``."""
    return f"{run_prefix(run_id)}{worker}-"


def name(run_id: str, worker: str, number: int, hint: str) -> str:
    """Return a name of one test's own; *hint* makes it readable in logs."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", hint).strip("-")
    return f"{prefix(run_id, worker)}{number}-{readable}"[:_LONGEST]


def require_ours(topic: str, run_id: str) -> None:
    """Refuse to touch a topic that this run has not created."""
    if not topic.startswith(run_prefix(run_id)):
        raise NotOursError(
            f"refused to delete records of the topic {topic!r}: the broker is not berth's.",
            why=f"berth_kafka_url is set, and topics of this run begin with {run_prefix(run_id)!r}",
            remedy=f"berth_kafka_allow_reset = {topic}  # only if all its records may go\n"
            "or let the application put {kafka_prefix} before its topics, by berth_export",
        )


def own_lines(log: str, run_id: str, worker: str) -> str:
    """Leave of a log the warnings and errors that do not name other workers' topics and groups.

    A broker notes a dozen long lines for each topic that it makes; what went wrong gets lost there.
    """
    every, own = run_prefix(run_id), prefix(run_id, worker)
    worth = _worth_telling(log.splitlines())
    return "\n".join(line for line in worth if every not in line or own in line)


def _worth_telling(lines: list[str]) -> Iterator[str]:
    """Yield the entries from warnings upwards, with the lines that belong to them."""
    is_told = True
    for line in lines:
        entry = re.match(_ENTRY, line)
        if entry:
            is_told = entry["level"] not in _NOTES
        if is_told:
            yield line
