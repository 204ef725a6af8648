"""Claims of database numbers on a server that others use too.

A hash in a database of its own, the registry, says who works in which number. One script finds
the registry, or an empty database for it, and an empty number that nobody has claimed: it runs
alone on the server, so that any number of processes may do it at once. A database that holds
anything which is not berth's is never written to, and never flushed.

A claim is good for a quarter of an hour from the last test, so that what a killed run has left is
of use again, as soon as nothing else is free.
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import redis

from pytest_berth.errors import IsolationError, NoSourceError
from pytest_berth.services.redis import clients, urls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.service import Server

REGISTRY = "pytest-berth:claims"
GOOD_FOR = 900
_UNKNOWN_DATABASES = 16

_FIND = """
local key, databases = KEYS[1], tonumber(ARGV[1])
local home
for n = databases - 1, 0, -1 do
  redis.call('SELECT', n)
  if redis.call('EXISTS', key) == 1 then home = n break end
end
"""
_TAKE = (
    _FIND
    + """
local owner, good_for, about = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local now = tonumber(redis.call('TIME')[1])
local function is_empty(n)
  redis.call('SELECT', n)
  return redis.call('DBSIZE') == 0
end
if not home then
  for n = databases - 1, 0, -1 do
    if is_empty(n) then home = n break end
  end
end
if not home then return -1 end
local claimed = {}
redis.call('SELECT', home)
local entries = redis.call('HGETALL', key)
for i = 1, #entries, 2 do claimed[tonumber(entries[i])] = entries[i + 1] end
local function take(n)
  redis.call('SELECT', home)
  redis.call('HSET', key, n, owner .. ' ' .. (now + good_for) .. ' ' .. about)
  return n
end
for n, entry in pairs(claimed) do
  if string.match(entry, '^%S+') == owner then return take(n) end
end
for n = 0, databases - 1 do
  if n ~= home and not claimed[n] and is_empty(n) then return take(n) end
end
for n, entry in pairs(claimed) do
  if tonumber(string.match(entry, '^%S+ (%d+)')) < now then
    redis.call('SELECT', n)
    redis.call('FLUSHDB')
    return take(n)
  end
end
return -1
"""
)
_RENEW = (
    _FIND
    + """
local owner, good_for, n = ARGV[2], tonumber(ARGV[3]), ARGV[4]
if not home then return 0 end
local now = tonumber(redis.call('TIME')[1])
local entry = redis.call('HGET', key, n)
if not entry or string.match(entry, '^%S+') ~= owner then return 0 end
redis.call('HSET', key, n, (string.gsub(entry, ' %d+ ', ' ' .. (now + good_for) .. ' ', 1)))
return 1
"""
)
_RELEASE = (
    _FIND
    + """
local run = ARGV[2]
if not home then return 0 end
local entries, released = redis.call('HGETALL', key), 0
for i = 1, #entries, 2 do
  if string.sub(entries[i + 1], 1, #run) == run then
    redis.call('SELECT', entries[i])
    redis.call('FLUSHDB')
    redis.call('SELECT', home)
    redis.call('HDEL', key, entries[i])
    released = released + 1
  end
end
return released
"""
)
_LIST = (
    _FIND
    + """
if not home then return {} end
return redis.call('HGETALL', key)
"""
)


def owner(run_id: str, worker: str) -> str:
    """Return the name that a worker's claim bears."""
    return f"{run_id}:{worker}"


def take(server: Server, name: str) -> int:
    """Claim an empty database number and return it; the same one when it is asked again.

    Raises:
        NoSourceError: No number is free, the server cannot be reached, or scripts are forbidden.
    """
    about = f"{platform.node().replace(' ', '-') or '?'} {os.getpid()} {time.time():.0f}"
    with _explained(server), _connected(server) as client:
        count = _databases(client)
        found = int(_run(client, _TAKE, count, name, GOOD_FOR, about))
        if found < 0:
            raise _none_free(server, count, _run(client, _LIST, count))
    return found


def release(server: Server, run_id: str) -> int:
    """Flush the numbers that a run has claimed, give them back, and return how many they were.

    Where the server is out of reach there is nothing to be done, and claims expire by themselves.
    """
    with suppress(redis.ConnectionError), _connected(server) as client:
        return int(_run(client, _RELEASE, _databases(client), owner(run_id, "")))
    return 0


@dataclass(frozen=True)
class Claim:
    """A claim of this process, kept good by renewing it around each test."""

    client: redis.Redis
    name: str
    number: int
    databases: int

    def renew(self) -> None:
        """Make sure that the number is still ours, for another while.

        Raises:
            IsolationError: It is not: what it holds must not be touched any more.
        """
        if not _run(self.client, _RENEW, self.databases, self.name, GOOD_FOR, self.number):
            raise IsolationError(
                f"database {self.number} of the external Redis is no longer this run's.",
                why=f"its claim is gone from {REGISTRY!r}: somebody has flushed the whole server"
                f" (FLUSHALL), or the run was idle for {GOOD_FOR} s and another one needed it",
                remedy="run again; berth_redis_source = container (or local) starts a server that"
                " nobody else uses",
            )


def claim(client: redis.Redis, name: str, number: int) -> Claim:
    """Return the claim of a number that `take` has given."""
    return Claim(client, name, number, _databases(client))


@contextmanager
def _connected(server: Server) -> Iterator[redis.Redis]:
    with clients.closing(clients.client(urls.url(server, 0))) as client:
        yield client


def _run(client: redis.Redis, script: str, *arguments: object) -> Any:
    return client.eval(script, 1, REGISTRY, *map(str, arguments))


def _databases(client: redis.Redis) -> int:
    """Return how many numbers the server has; Redis's default where it does not tell."""
    try:
        found = cast("dict[str, str]", client.config_get("databases"))
    except redis.ResponseError:
        return _UNKNOWN_DATABASES
    return int(found.get("databases", _UNKNOWN_DATABASES))


@contextmanager
def _explained(server: Server) -> Iterator[None]:
    place = f"{server.host}:{server.port}"
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise NoSourceError(
            f"the external Redis at {place} cannot be reached.",
            why=str(error),
            remedy="start it, or check berth_redis_url",
        ) from None
    except redis.ResponseError as error:
        raise NoSourceError(
            f"the external Redis at {place} does not let tests claim a database number.",
            why=str(error),
            remedy="give the role EVAL, SELECT and FLUSHDB on a server with several databases,"
            " or let berth start one: berth_redis_source = container (or local)",
        ) from None


def _none_free(server: Server, count: int, entries: list[bytes]) -> NoSourceError:
    held = [
        f"{number.decode()} by {entry.decode(errors='replace')}"
        for number, entry in zip(entries[::2], entries[1::2], strict=True)
    ]
    claimed = "; ".join(sorted(held)) or "none"
    return NoSourceError(
        f"no database number is free on the external Redis at {server.host}:{server.port}.",
        why=f"of its {count} numbers, one of which holds the claims, each is claimed by a run or"
        f" holds keys of others (never touched)\nclaimed: {claimed}",
        remedy="empty a number that nobody needs (redis-cli -n <number> FLUSHDB), give the server"
        " more (databases 256 in redis.conf),\nor run fewer workers; claims of killed runs are of"
        f" use again after {GOOD_FOR // 60} minutes",
    )
