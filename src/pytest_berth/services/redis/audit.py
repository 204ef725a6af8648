"""What tests can break on a Redis server, for ``--berth-audit``."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from pytest_berth.services.redis import describe_keys, server_state
from pytest_berth.shown_values import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import redis

    from pytest_berth.services.redis.worker_databases import WorkerDatabases

Found = dict[str, "str | None"]

_AT_ONCE = 500
# More keys than this in a number are only counted.
_MOST_KEYS = 10_000
_WITHIN = 20.0
_FILLED = re.compile(rb"^db(\d+):keys=(\d+)", re.MULTILINE)
# Not DUMP: a hash or set that is put back may be stored in another order.
_READ: dict[bytes, tuple[str, ...]] = {
    b"hash": ("HGETALL",),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
    b"list": ("LRANGE", "0", "-1"),
    b"string": ("GET",),
}


def of_worker(databases: WorkerDatabases) -> Found:
    """Return the keys of all numbers that are the worker's own."""
    found: Found = {}
    for number in sorted(databases.look().filled):
        where = "" if number == databases.number else f" in database {number}"
        client = databases.at(number)
        count = cast("Any", client).dbsize()
        found[f"keys{where}"] = f"{count} of them"
        if count <= _MOST_KEYS:
            found |= {f"key {name}{where}": text for name, text in _keys(client)}
    return found


def of_server(databases: WorkerDatabases, unclaimed: Collection[int]) -> Found:
    """Return settings, users, functions, modules, and the keys in numbers that are nobody's.

    Args:
        databases: The worker's numbers.
        unclaimed: The numbers that no worker has for itself.
    """
    standing = server_state.read(databases.home)
    found: Found = {
        f"CONFIG {name}": shown(value, name=name) + f"\t{_digest(value)}"
        for name, value in standing.settings.items()
    }
    found |= {f"ACL user {name}": f"\t{_digest(rules)}" for name, rules in standing.users.items()}
    found |= {f"function library {n}": f"\t{_digest(c)}" for n, c in standing.functions.items()}
    found |= {f"module {name}": "" for name in standing.modules}
    found["replication"] = standing.role
    answer = cast("bytes", databases.home.info("keyspace"))
    for number, count in _FILLED.findall(answer):
        if int(number) in unclaimed:
            found[f"keys in database {int(number)}"] = f"{int(count)} of them"
    return found


def _keys(client: redis.Redis) -> Iterator[tuple[str, str]]:
    keys = sorted(describe_keys.scan(client, _MOST_KEYS, _WITHIN))
    for start in range(0, len(keys), _AT_ONCE):
        yield from _described(client, keys[start : start + _AT_ONCE])


def _described(client: redis.Redis, keys: Sequence[bytes]) -> Iterator[tuple[str, str]]:
    kinds = _asked(client, [("TYPE", key) for key in keys])
    values = _asked(
        client,
        [
            (_READ[kind][0], key, *_READ[kind][1:]) if kind in _READ else ("DUMP", key)
            for key, kind in zip(keys, kinds, strict=True)
        ],
    )
    left = _asked(client, [("PTTL", key) for key in keys])
    for key, kind, value, expires in zip(keys, kinds, values, left, strict=True):
        if kind != b"none" and value is not None:
            until = ", expires" if expires >= 0 else ""
            digest = _digest(repr(_ordered(kind, value)))
            yield describe_keys.name(key), f"{kind.decode()}{until}\t{digest}"


def _ordered(kind: bytes, value: Any) -> object:
    """Return a value without the order that a hash or set has by chance."""
    if kind == b"hash":
        return sorted(value.items())
    return sorted(value) if kind == b"set" else value


def _asked(client: redis.Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    pipeline: Any = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return list(pipeline.execute())


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()
