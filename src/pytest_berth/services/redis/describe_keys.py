"""What keys hold, for people: type, size, when it expires, and the beginning of the value."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from pytest_berth.shown_values import is_secret, shown
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import redis

    Read = Callable[[Any, bytes], object]

NONE = "none"
_BYTES, _ELEMENTS, _RECORDS = 4096, 10, 3
# Of what is larger, elements may be large as well: only how many there are is told.
_LARGEST = 1 << 20
_SHOWN, _OF_ELEMENT = 200, 60
_SCANNED_AT_ONCE = 1000
_CLOSE_AMONG = 2000
_NEAREST = 3

# By type: its name for people, how its size is asked, and its beginning.
_READS: dict[str, tuple[str, Read, Read]] = {
    "string": (
        "string",
        lambda pipeline, key: pipeline.strlen(key),
        lambda pipeline, key: pipeline.getrange(key, 0, _BYTES - 1),
    ),
    "list": (
        "list",
        lambda pipeline, key: pipeline.llen(key),
        lambda pipeline, key: pipeline.lrange(key, 0, _ELEMENTS - 1),
    ),
    "set": (
        "set",
        lambda pipeline, key: pipeline.scard(key),
        lambda pipeline, key: pipeline.sscan(key, count=_ELEMENTS),
    ),
    "zset": (
        "sorted set",
        lambda pipeline, key: pipeline.zcard(key),
        lambda pipeline, key: pipeline.zrange(key, 0, _ELEMENTS - 1, withscores=True),
    ),
    "hash": (
        "hash",
        lambda pipeline, key: pipeline.hlen(key),
        lambda pipeline, key: pipeline.hscan(key, count=_ELEMENTS),
    ),
    "stream": (
        "stream",
        lambda pipeline, key: pipeline.xlen(key),
        lambda pipeline, key: pipeline.xrevrange(key, count=_RECORDS),
    ),
}


def scan(client: redis.Redis, most: int, within: float) -> set[bytes]:
    """Return a database number's keys, no more than *most*, and what is found in *within* s."""
    deadline, cursor, found = now() + within, 0, set[bytes]()
    while True:
        cursor, keys = cast("Any", client.scan(cursor, count=_SCANNED_AT_ONCE))
        found.update(keys)
        if not cursor or len(found) >= most or now() > deadline:
            return found


def name(key: bytes) -> str:
    """Return a key's name for people, in quotes where it might be misread without."""
    text = key.decode(errors="backslashreplace")
    return text if text.isprintable() and text and " " not in text else repr(text)


def describe(client: redis.Redis, keys: Sequence[bytes]) -> list[str]:
    """Return what each key holds: ``hash of 2 {name: 'x'}, expires in 59 s``; or `NONE`."""
    found = _ask(
        client,
        (
            command
            for key in keys
            for command in (("TYPE", key), ("PTTL", key), ("MEMORY", "USAGE", key))
        ),
    )
    states = list(zip(keys, found[::3], found[1::3], found[2::3], strict=True))
    pipeline = client.pipeline(transaction=False)
    for key, kind, _, size in states:
        for read in _reads(kind, size):
            read(pipeline, key)
    answers = iter(pipeline.execute(raise_on_error=False))
    return [
        _described(key, _text(kind), left, [next(answers) for _ in _reads(kind, size)])
        for key, kind, left, size in states
    ]


def nearest(client: redis.Redis, key: bytes, within: float) -> list[str]:
    """Return the names of the keys there that are most like one that is not there."""
    there = [name(each) for each in scan(client, _CLOSE_AMONG, within)]
    return get_close_matches(name(key), sorted(there), _NEAREST)


def _ask(client: redis.Redis, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return the answers; where a command is refused, its error."""
    pipeline: Any = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return list(pipeline.execute(raise_on_error=False))


def _reads(kind: Any, size: Any) -> list[Read]:
    """Return how a key's size is asked, and its value, if it is not too large."""
    _, count, value = _READS.get(_text(kind), ("", None, None))
    if count is None or value is None:
        return []
    if _text(kind) == "stream":
        return [count, value, lambda pipeline, key: pipeline.xinfo_groups(key)]
    is_small = _text(kind) == "string" or not isinstance(size, int) or size < _LARGEST
    return [count, value] if is_small else [count]


def _described(key: bytes, kind: str, left: Any, answers: list[Any]) -> str:
    if kind == NONE or not answers:
        return kind
    label = _READS[kind][0]
    size, value, groups = [*answers, None, None][:3]
    if isinstance(size, Exception):
        return f"{label}: {size}"  # it was deleted, or became another type, in between
    count = "" if kind == "string" else f" of {size}"
    text = "***" if is_secret(name(key)) else _value(kind, value, size)
    expires = f", expires in {left / 1000:.0f} s" if isinstance(left, int) and left >= 0 else ""
    return f"{label}{count}{text and ' '}{text}{expires}{_pending(groups)}"


def _value(kind: str, value: Any, size: int) -> str:
    if value is None or isinstance(value, Exception):
        return ""
    if kind == "string":
        return shown(value, size=size if size > _BYTES else None)
    if kind == "hash":
        return _joined("{}", (_pair(field, each) for field, each in value[1].items()), size)
    if kind == "set":
        return _joined("{}", (_element(each) for each in value[1]), size)
    if kind == "zset":
        return _joined("[]", (f"{_element(each)}: {score:g}" for each, score in value), size)
    if kind == "stream":
        records = [
            f"{_text(id_)} {_joined('{}', (_pair(f, v) for f, v in fields.items()), len(fields))}"
            for id_, fields in reversed(value)
        ]
        return _joined("[]", ["..."] * (size > len(records)) + records, 0)
    return _joined("[]", (_element(each) for each in value), size)


def _joined(brackets: str, parts: Iterable[str], size: int) -> str:
    """Return parts between brackets, as many as are shown; dots where there are more of them."""
    given = list(parts)
    kept = given[:_ELEMENTS]
    while len(kept) > 1 and len(", ".join(kept)) > _SHOWN:
        kept.pop()
    dots = [] if len(kept) >= max(size, len(given)) else ["..."]
    return f"{brackets[0]}{', '.join([*kept, *dots])}{brackets[1]}"


def _pair(field: bytes, value: bytes) -> str:
    label = name(field)
    return f"{label}: {shown(value, name=label, most=_OF_ELEMENT)}"


def _element(value: bytes) -> str:
    return shown(value, most=_OF_ELEMENT)


def _pending(groups: Any) -> str:
    """Return what consumer groups of a stream have been given and have not acknowledged."""
    if not isinstance(groups, list):
        return ""
    told = (
        f"; group {_text(each['name'])}: {each['pending']} pending of {each['consumers']} consumers"
        for each in groups
    )
    return "".join(told)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
