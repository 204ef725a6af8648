"""The names of a run's topics and groups.

Every name carries the run's id, which no other run has: what bears it was made by this run, and
on a broker that is not ours only that is ever deleted without being allowed by name.
"""

from __future__ import annotations

import re

from pytest_berth.errors import NotOursError

_LONGEST = 249


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
    """Leave out of a log the lines that name other workers' topics and groups."""
    every, own = run_prefix(run_id), prefix(run_id, worker)
    return "\n".join(line for line in log.splitlines() if every not in line or own in line)
