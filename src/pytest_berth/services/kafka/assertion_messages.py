"""What a failed assertion about a topic shows: what is in it, and who reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.services.kafka.consumer_groups import Groups
from pytest_berth.services.kafka.topic_reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_berth.services.kafka.clients import Clients
    from pytest_berth.services.kafka.record import Record
    from pytest_berth.services.kafka.topics import Offsets

_LAST = 5
_READ_WITHIN = 2.0


def explain(
    clients: Clients,
    topic: str,
    what: str,
    begin: Offsets,
    where: Callable[[Record], bool] | None,
    group: str | None = None,
) -> str:
    """Return what happened, the topic's partitions, its last records, its groups and their lag."""
    reader = Reader(clients.brokers)
    if not begin:
        return "\n".join([what, *_no_topic(reader, topic)])
    starts, ends = reader.starts(topic), reader.ends(topic)
    there = reader.read_to(topic, begin, ends, _READ_WITHIN)
    lines = [what, f"  topic {topic}:"]
    lines += [
        f"    partition {part}: offsets {starts[part]} to {ends[part]}, read from {begin[part]}"
        for part in starts
    ]
    lines += _records(there, where)
    lines += _groups(Groups(clients.brokers), topic, begin, group)
    return "\n".join(lines)


def _no_topic(reader: Reader, topic: str) -> list[str]:
    return [f"  there is no topic {topic!r}; there are: {', '.join(reader.topics()) or 'none'}"]


def _records(there: list[Record], where: Callable[[Record], bool] | None) -> list[str]:
    if not there:
        return ["  it holds no records of this test"]
    rule = "" if where is None else "; those that `where` picks have a *"
    lines = [f"  the last of {len(there)} records (partition@offset{rule}):"]
    for record in there[-_LAST:]:
        picked = where is not None and where(record)
        lines.append(f"  {'*' if picked else ' '} {record}")
    return lines


def _groups(groups: Groups, topic: str, begin: Offsets, group: str | None) -> list[str]:
    names = sorted({*groups.reading(topic), *([group] if group else [])})
    if not names:
        return ["  no consumer group has committed an offset in it"]
    lines = ["  consumer groups:"]
    for name in names:
        lag = groups.lag(name, topic, begin)
        committed = groups.committed(name, topic) or "nothing"
        lines += [f"    {name}: lag {int(lag)}, committed {committed}"]
        lines += [f"      {groups.look(name)}"]
    return lines
