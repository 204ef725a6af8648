"""What a test has changed on a server, against what there was when it began.

All keys are looked at, up to a limit; what those hold that were there before is compared by DUMP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.services.redis import describe_keys, restore, server_state
from pytest_berth.shown_values import shown
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_berth.services.redis.restore import Baseline, Key, Value
    from pytest_berth.services.redis.worker_databases import WorkerDatabases

_MOST_KEYS, _MOST_COMPARED, _AT_ONCE = 100_000, 2_000, 100
_WITHIN = 2.0
_DESCRIBED = 30
_EXPIRES_APART = 1000  # milliseconds
# What DUMP ends with: the version of the format, and a checksum.
_FOOTER = 10
# Types without an order, as DUMP numbers them: RESTORE may give their elements another one.
_UNORDERED = {2, 4, 24}
_STRING = 0


@dataclass
class _Found:
    """Keys by what has become of them; those that have changed with what they were."""

    changed: dict[Key, str] = field(default_factory=dict)
    deleted: list[Key] = field(default_factory=list)
    added: list[Key] = field(default_factory=list)
    not_compared: int = 0


def lines(databases: WorkerDatabases, before: Baseline | None) -> list[str]:
    """Return a line for each key that was changed, deleted or added: ``~``, ``-``, ``+``.

    Args:
        databases: The worker's database numbers.
        before: What there was when the test began; None where that is not known: then all keys are
            told that are there.
    """
    found = _find(databases, before.values if before else {})
    shown_keys = [*found.changed, *found.added][:_DESCRIBED]
    texts = _described(databases, shown_keys)

    def line(sign: str, key: Key, was: str = "") -> str:
        return f"{sign}{_name(databases, key)}{texts.get(key, '')}{was}"

    told = [line("~ ", key, was) for key, was in found.changed.items()]
    told += [line("- ", key) for key in found.deleted]
    told += [line("+ " if before else "", key) for key in found.added]
    if found.not_compared:
        told.append(f"{found.not_compared} further keys were not compared")
    return [*told, *_beside_keys(databases, before)]


def _find(databases: WorkerDatabases, known: Mapping[Key, Value]) -> _Found:
    found, deadline = _Found(), now() + _WITHIN
    filled = databases.look().filled
    for number in sorted(filled | {of for of, _ in known}):
        earlier = {key for of, key in known if of == number}
        there = describe_keys.scan(databases.at(number), _MOST_KEYS, deadline - now())
        is_complete = len(there) < _MOST_KEYS and now() < deadline
        found.added += [(number, key) for key in sorted(there - earlier)]
        found.deleted += [(number, key) for key in sorted(earlier - there) if is_complete]
        both = sorted(there & earlier)
        for at in range(0, len(both), _AT_ONCE):
            if at >= _MOST_COMPARED or now() > deadline:
                found.not_compared += len(both) - at
                break
            some = restore.read(databases.at(number), number, both[at : at + _AT_ONCE])
            found.changed |= {
                key: _was(key, known[key], value)
                for key, value in some
                if not _is_same(known[key], value)
            }
    return found


def _is_same(before: Value, after: Value) -> bool:
    if abs(before.expires - after.expires) > _EXPIRES_APART:
        return False
    if before.dump == after.dump:
        return True
    if before.dump[0] != after.dump[0] or before.dump[0] not in _UNORDERED:
        return False
    return sorted(before.dump[:-_FOOTER]) == sorted(after.dump[:-_FOOTER])


def _described(databases: WorkerDatabases, keys: Sequence[Key]) -> dict[Key, str]:
    found = {}
    for number in {of for of, _ in keys}:
        own = [key for of, key in keys if of == number]
        states = describe_keys.describe(databases.at(number), own)
        found.update({(number, key): f" {state}" for key, state in zip(own, states, strict=True)})
    return found


def _name(databases: WorkerDatabases, key: Key) -> str:
    number, name = key
    place = "" if number == databases.number else f"number {number}: "
    return f"{place}{describe_keys.name(name)}"


def _was(key: Key, before: Value, after: Value) -> str:
    """Tell what a string was, as far as DUMP tells: it may have compressed it."""
    if before.dump == after.dump:
        return " (only its expiry was changed)"
    text = _string(before.dump)
    name = describe_keys.name(key[1])
    return "" if text is None else f" (was {shown(text, name=name)})"


def _string(dump: bytes) -> bytes | None:
    """Return the string in what DUMP gives; None for another type, and for a compressed one."""
    kind, first = dump[0], dump[1]
    size, rest = first & 0x3F, dump[2:-_FOOTER]
    if kind != _STRING:
        return None
    if first >> 6 == 0:
        return rest[:size]
    if first >> 6 == 1:
        return rest[1 : 1 + (size << 8 | rest[0])]
    if first in {0xC0, 0xC1, 0xC2}:  # an integer of 1, 2 or 4 bytes
        return str(int.from_bytes(rest[: 1 << size], "little", signed=True)).encode()
    return None


def _beside_keys(databases: WorkerDatabases, before: Baseline | None) -> Iterator[str]:
    """Yield what has changed of the server's settings, users and functions, where all is ours."""
    if before is None or before.standing is None:
        return
    after = server_state.read(databases.home)
    for name in before.standing.differences(after):
        old, new = (each.settings.get(name) for each in (before.standing, after))
        is_setting = old is not None and new is not None
        values = f": was {shown(old, name=name)}, is {shown(new, name=name)}" if is_setting else ""
        yield f"~ server: {'CONFIG ' * is_setting}{name}{values}"
