"""What a database number holds, so that it can be put back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import redis

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_AT_ONCE = 1000


class Value(NamedTuple):
    """A key's value as DUMP gives it, and when it expires: milliseconds since 1970, 0 for never."""

    dump: bytes
    expires: int


@dataclass(frozen=True)
class Baseline:
    """All keys of a database number.

    Attributes:
        values: The values by key.
        token: What the server said of its changes; equal tokens mean that nothing has changed.
    """

    values: Mapping[bytes, Value] = field(default_factory=dict, repr=False)
    token: tuple[int, int] | None = None


EMPTY = Baseline()


def capture(client: redis.Redis, known: Baseline) -> Baseline:
    """Return what the database holds, *known* itself if nothing has changed since."""
    if not client.dbsize():
        return EMPTY
    token = _token(client)
    if known.values and token is not None and token == known.token:
        return known
    values: dict[bytes, Value] = {}
    for keys in _batches(client):
        values.update(_read(client, keys))
    return Baseline(values, token)


def restore(client: redis.Redis, baseline: Baseline) -> Baseline:
    """Put everything back; return the baseline as it is from now on."""
    if not baseline.values:
        client.flushdb()
        return EMPTY
    if baseline.token is not None and _token(client) == baseline.token:
        return baseline
    pipeline = client.pipeline(transaction=True)
    pipeline.flushdb()
    for key, value in baseline.values.items():
        pipeline.restore(key, value.expires, cast("str", value.dump), absttl=bool(value.expires))
    pipeline.execute()
    return Baseline(baseline.values, _token(client))


def remove_others(client: redis.Redis, baseline: Baseline) -> None:
    """Delete the keys that the baseline does not have."""
    if not baseline.values:
        if client.dbsize():
            client.flushdb()
        return
    if baseline.token is not None and _token(client) == baseline.token:
        return
    for keys in _batches(client):
        others = [key for key in keys if key not in baseline.values]
        if others:
            client.unlink(*others)


def _read(client: redis.Redis, keys: list[bytes]) -> Iterable[tuple[bytes, Value]]:
    pipeline = client.pipeline(transaction=True)
    pipeline.time()
    for key in keys:
        pipeline.dump(key)
        pipeline.pttl(key)
    (seconds, microseconds), *found = pipeline.execute()
    now = seconds * 1000 + microseconds // 1000
    for key, dump, left in zip(keys, found[::2], found[1::2], strict=True):
        if dump is not None:
            yield key, Value(dump, now + left if left >= 0 else 0)


def _batches(client: redis.Redis) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, keys = cast("Any", client.scan(cursor, count=_AT_ONCE))
        if keys:
            yield list(dict.fromkeys(keys))
        if not cursor:
            return


def _token(client: redis.Redis) -> tuple[int, int] | None:
    """Return the server's count of changes, and when it last began anew; None if it is secret."""
    try:
        found = cast("dict[str, int]", client.info("persistence"))
    except redis.exceptions.NoPermissionError:
        return None
    return found["rdb_changes_since_last_save"], found["rdb_last_save_time"]
