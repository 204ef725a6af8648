"""What a test has changed on a broker: topics, their records by offsets, and groups' offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.services.kafka import topics
from pytest_berth.services.kafka.consumer_groups import Groups
from pytest_berth.services.kafka.topic_reader import Reader
from pytest_berth.shown_values import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_berth.services.kafka.brokers import Brokers
    from pytest_berth.services.kafka.record import Record
    from pytest_berth.services.kafka.restore import Before
    from pytest_berth.services.kafka.topics import Offsets, Topic

_MOST_READ, _FIRST = 10, 5
_READ_WITHIN, _READ_BYTES = 5.0, 64 << 10
_VALUE, _KEY, _HEADER = 200, 60, 60


def lines(brokers: Brokers, before: Before | None, is_ours: Callable[[str], bool]) -> list[str]:
    """Return what has become of the worker's topics since a test began, and who has read them.

    Args:
        brokers: Where.
        before: What there was when the test began; None where nothing was noted, and the worker's
            topics held nothing.
        is_ours: Whether a topic is the worker's.
    """
    extents = topics.extents(
        brokers,
        lambda: {name: each for name, each in topics.find(brokers).items() if is_ours(name)},
    )
    there, starts = extents.topics, extents.starts
    marks = before.marks if before else {}
    gone = sorted(name for name in marks.keys() - there.keys() if is_ours(name))
    told = [f"- topic {name}" for name in gone]
    changed: dict[str, Offsets] = {}
    for name, end in sorted(extents.ends.items()):
        mark = marks.get(name)
        is_new = mark is None or mark.id != there[name].id
        begin = starts[name] if is_new or mark is None else {**starts[name], **mark.offsets}
        grown = {part: at for part, at in end.items() if at > begin[part]}
        if is_new and before:
            told.append(f"+ topic {name}, {len(end)} partition{'s' * (len(end) != 1)}")
        if grown:
            changed[name] = end
            told.append(f"topic {name}: {_span(begin, grown)}")
            told += _records(brokers, name, begin, grown, is_read=len(changed) <= _MOST_READ)
    if before:
        told += _other_changes(brokers, before, there)
    return [*told, *_commits(brokers, changed)]


def described(record: Record) -> str:
    """Return one line: where a record is, its key, its headers and the beginning of its value."""
    key = "" if record.key is None else f" key {shown(record.key, most=_KEY)}"
    headers = ", ".join(
        f"{name}: {shown(value, name=name, most=_HEADER)}" for name, value in record.headers
    )
    value = "null" if record.value is None else shown(record.value, most=_VALUE)
    return f"  {record.partition}@{record.offset}{key}{f' {{{headers}}}' * bool(headers)} {value}"


def _span(begin: Mapping[int, int], grown: Mapping[int, int]) -> str:
    """Return which offsets have come, by partition; a transaction's end takes one, too."""
    spans = []
    for part, end in grown.items():
        count, last = end - begin[part], end - 1
        span = f"offsets {begin[part]} to {last}" if count > 1 else f"offset {last}"
        spans.append(f"partition {part} got {span}")
    return ", ".join(spans)


def _records(
    brokers: Brokers, topic: str, begin: Offsets, ends: Offsets, *, is_read: bool
) -> Iterator[str]:
    if not is_read:
        return
    reader = Reader(brokers, _READ_BYTES)
    offsets = {part: begin[part] for part in ends}
    found = reader.first(topic, offsets, ends, _FIRST, _READ_WITHIN)
    yield from map(described, found)
    left = sum(ends[part] - begin[part] for part in ends) - len(found)
    if left and len(found) >= _FIRST:
        yield f"  ... {left} more"
    elif left:
        yield f"  offsets without a committed record: {left} (a transaction is open, or aborted)"


def _other_changes(brokers: Brokers, before: Before, there: Mapping[str, Topic]) -> Iterator[str]:
    """Yield what has become of partitions and settings of the topics with fixed names."""
    after = topics.describe(brokers, [name for name in before.fixed if name in there])
    for name, topic in after.items():
        earlier = before.fixed[name]
        if not topic.is_like(earlier):
            yield f"~ topic {name}: {len(topic.leaders)} partitions (were {len(earlier.leaders)})"
        for key in sorted(topic.configs.keys() | earlier.configs.keys()):
            old, new = earlier.configs.get(key), topic.configs.get(key)
            if old != new:
                yield f"~ topic {name}: {key} = {new or 'default'} (was {old or 'default'})"


def _commits(brokers: Brokers, changed: Mapping[str, Offsets]) -> Iterator[str]:
    """Yield how far consumer groups have come in the topics that have records of the test."""
    groups = Groups(brokers)
    names = [name for name, group in groups.all().items() if group.has_offsets]
    found = groups.commits(names, {name: sorted(ends) for name, ends in changed.items()})
    for name, offsets in sorted(found.items()):
        places = [
            f"{topic}-{part} at {at} of {changed[topic][part]}"
            for (topic, part), at in sorted(offsets.items())
        ]
        if places:
            yield f"group {name} has committed {', '.join(places)}"
