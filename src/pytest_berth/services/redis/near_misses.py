"""Keys that a test has asked for in vain, with those there that are like them: a wrong key?

A wrong key is no error to a server: it returns nothing, and an assertion fails later on.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pytest_berth.isolation import recorder
from pytest_berth.isolation.recorder import CALL
from pytest_berth.services.redis import describe_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    import redis

    from pytest_berth.isolation.recorder import Record
    from pytest_berth.services.redis.worker_databases import WorkerDatabases

_READS = frozenset(
    {"GET", "GETEX", "GETDEL", "HGET", "HGETALL", "HKEYS", "HVALS", "LRANGE", "LINDEX", "LPOP"}
    | {"RPOP", "SMEMBERS", "SPOP", "ZRANGE", "ZSCORE", "XRANGE", "XREVRANGE", "EXISTS", "TTL"}
)
_ABSENT = {"EXISTS": 0, "TTL": -2}
_MOST, _FIELDS, _NEAREST = 3, 100, 3
_SCANS_WITHIN = 0.5


class Missed(NamedTuple):
    """A command that has returned nothing, its key, and its field where it has one."""

    command: str
    key: bytes
    field: bytes


def find(config: pytest.Config) -> list[Missed]:
    """Return what the running test has asked for in vain, the last of it."""
    kept = recorder.of(config)
    records = kept.records("redis", CALL) if kept else []
    return list(dict.fromkeys(_missed(each) for each in records if _is_in_vain(each)))[-_MOST:]


def _is_in_vain(record: Record) -> bool:
    command = record.text.upper()
    if command not in _READS or record.error or not isinstance(record.parameters, tuple):
        return False
    return record.answer is None or record.answer == _ABSENT.get(command, ...)


def _missed(record: Record) -> Missed:
    command = record.text.upper()
    key, field, *_ = (*map(_bytes, record.parameters), b"", b"")
    return Missed(command, key, field if command == "HGET" else b"")


def lines(databases: WorkerDatabases, missed: list[Missed]) -> Iterator[str]:
    """Yield what is like the keys, and the fields, that were not there, and are not there yet."""
    client = databases.home
    for command, key, field in missed:
        name = describe_keys.name(key)
        is_there, told = bool(client.exists(key)), name
        if is_there and not field:
            continue
        if is_there:
            told = f"{name} {describe_keys.name(field)}"
            like = _fields(client, key, field)
        else:
            like = describe_keys.nearest(client, key, _SCANS_WITHIN)
        if like:
            there = "its fields are" if is_there else "there are"
            yield f"{command} {told} returned nothing; {there}: {', '.join(like)}"


def _fields(client: redis.Redis, key: bytes, field: bytes) -> list[str]:
    _, found = cast("Any", client.hscan(key, count=_FIELDS))
    there = sorted(map(describe_keys.name, found))
    return get_close_matches(describe_keys.name(field), there, _NEAREST)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
