"""Claims of database numbers on a server that others use too.

A hash in a database of its own, the registry, says who works in which number. One script finds
the registry, or an empty database for it, and an empty number that nobody has claimed: it runs
alone on the server, so that any number of processes may do it at once. It begins at the highest
number, and never takes 0, which every program uses that has not been told another, unless the
settings name it. A database that holds anything which is not berth's is never written to, and
never flushed.

A worker that has a number keeps a connection open that bears its name. A claim is given up when
its time is over, a quarter of an hour from the last test, and that connection is gone: one without
the other says nothing. It goes to whoever finds nothing else free, or with the end of the next run:
if its number is empty. What a number holds by then may be anybody's, and stays.
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import redis

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import IsolationError, NoSourceError
from pytest_berth.services.redis import clients, urls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Server

REGISTRY = "pytest-berth:claims"
GOOD_FOR = 900
ANY = -1
_CONNECTION = f"{clients.NAME}:"
_UNKNOWN_DATABASES = 16
_MANY = "max number of clients reached"
_FULL = "end programs that hold connections there (redis-cli CLIENT LIST), or raise its maxclients"

_FIND = """
local key, databases = KEYS[1], tonumber(ARGV[1])
local home
for n = databases - 1, 0, -1 do
  redis.call('SELECT', n)
  if redis.call('EXISTS', key) == 1 then home = n break end
end
"""
_IS_DEAD = """
local function is_dead(entry, connected)
  local owner, good_until = string.match(entry, '^(%S+) (%d+)')
  local now = tonumber(redis.call('TIME')[1])
  return tonumber(good_until) < now and not string.find(connected, ' ' .. owner .. ' ', 1, true)
end
"""
_TAKE = (
    _FIND
    + _IS_DEAD
    + """
local owner, good_for, about = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local wanted = tonumber(ARGV[6])
local now = tonumber(redis.call('TIME')[1])
local function is_empty(n)
  redis.call('SELECT', n)
  return redis.call('DBSIZE') == 0
end
if not home then
  for n = databases - 1, 1, -1 do
    if n ~= wanted and is_empty(n) then home = n break end
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
local function is_free(n, or_dead)
  if n == home or not is_empty(n) then return false end
  return not claimed[n] or (or_dead and is_dead(claimed[n], ARGV[5]))
end
local highest, lowest = databases - 1, 1
if wanted >= 0 then highest, lowest = wanted, wanted end
for _, or_dead in ipairs({false, true}) do
  for n = highest, lowest, -1 do
    if is_free(n, or_dead) then return take(n) end
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
    + _IS_DEAD
    + """
local run, connected = ARGV[2], ARGV[3]
if not home then return 0 end
local entries, released = redis.call('HGETALL', key), 0
local now = tonumber(redis.call('TIME')[1])
for i = 1, #entries, 2 do
  local n, entry = entries[i], entries[i + 1]
  local is_ours = string.sub(entry, 1, #run) == run
  local is_good = tonumber(string.match(entry, '^%S+ (%d+)')) >= now
  redis.call('SELECT', n)
  if is_ours and is_good then redis.call('FLUSHDB') end
  local is_empty = redis.call('DBSIZE') == 0
  redis.call('SELECT', home)
  if is_empty and (is_ours or is_dead(entry, connected)) then
    redis.call('HDEL', key, n)
    if is_ours then released = released + 1 end
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


def take(server: Server, name: str, wanted: int = ANY) -> int:
    """Claim an empty database number and return it; the same one when it is asked again.

    Args:
        server: The server.
        name: The owner.
        wanted: The only number that will do, if the settings name one.

    Raises:
        NoSourceError: No number is free, the server cannot be reached, or scripts are forbidden.
    """
    about = f"{platform.node().replace(' ', '-') or '?'} {os.getpid()} {time.time():.0f}"
    with _explained(server), _connected(server) as client:
        count = _databases(client)
        owners = _connected_owners(client)
        found = int(_run(client, _TAKE, count, name, GOOD_FOR, about, owners, wanted))
        if found < 0:
            held = _held(_run(client, _LIST, count))
            raise _none_free(server, count, held) if wanted < 0 else _in_use(server, wanted, held)
    return found


def release(server: Server, run_id: str) -> int:
    """Flush the numbers that a run has claimed, give them back, and return how many they were.

    A claim whose time is over says no more whose the keys are: then, and of dead runs, a number is
    given back only if it is empty.

    Where the server is out of reach there is nothing to be done, and claims expire by themselves.
    """
    unreachable = ignoring(redis.ConnectionError, why="claims expire by themselves")
    with unreachable, _connected(server) as client:
        owners = _connected_owners(client)
        return int(_run(client, _RELEASE, _databases(client), owner(run_id, ""), owners))
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

    def renew_at_end(self) -> None:
        """Let the end of the run find the claim good, so that it may empty the number.

        Where the claim is gone, or the server out of reach, nothing is emptied.
        """
        with ignoring(redis.RedisError, IsolationError, why="the number is not emptied"):
            self.renew()


def claim(client: redis.Redis, name: str, number: int) -> Claim:
    """Return the claim of a number that `take` has given."""
    return Claim(client, name, number, _databases(client))


def connect(url: str, name: str) -> redis.Redis:
    """Return a client whose open connection says that the owner of a claim lives.

    A role that may not name its connections is left with the time that a claim is good for.
    """
    named = clients.client(
        url, client_name=_connection_name(name), socket_timeout=clients.ANSWERS_WITHIN
    )
    try:
        named.ping()
    except redis.exceptions.NoPermissionError:
        return clients.client(url, socket_timeout=clients.ANSWERS_WITHIN)
    except redis.ResponseError:
        return named  # told by whoever uses it first
    return named


def _connection_name(name: str) -> str:
    return f"{_CONNECTION}{name}"


def _connected_owners(client: redis.Redis) -> str:
    """Return the owners that are connected, between blanks.

    Where the server does not tell, each counts as connected: time alone is no proof.
    """
    try:
        names = [each["name"] for each in client.client_list()]
    except redis.ResponseError:
        entries = cast("list[bytes]", _run(client, _LIST, _databases(client)))
        names = [_connection_name(entry.decode().split()[0]) for entry in entries[1::2]]
    owners = (name.removeprefix(_CONNECTION) for name in names if name.startswith(_CONNECTION))
    return f" {' '.join(owners)} "


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
            remedy=_FULL if _MANY in str(error) else "start it, or check berth_redis_url",
        ) from None
    except redis.ResponseError as error:
        raise NoSourceError(
            f"the external Redis at {place} does not let tests claim a database number.",
            why=str(error),
            remedy="give the role EVAL, SELECT and FLUSHDB on a server with several databases,"
            " or let berth start one: berth_redis_source = container (or local)",
        ) from None


def _held(entries: list[bytes]) -> str:
    """Return who has claimed which numbers, for people."""
    held = [
        f"{number.decode()} by {entry.decode(errors='replace')}"
        for number, entry in zip(entries[::2], entries[1::2], strict=True)
    ]
    return "; ".join(sorted(held)) or "none"


def _in_use(server: Server, wanted: int, claimed: str) -> NoSourceError:
    return NoSourceError(
        f"database number {wanted} is in use on the external Redis at {server.host}:{server.port}.",
        why="berth_redis_db names it, but a run has claimed it, or it holds keys of others (never"
        f" touched), or the claims\nclaimed: {claimed}",
        remedy=f"empty it if nobody needs it: redis-cli -n {wanted} FLUSHDB\n"
        "or leave berth_redis_db out: an empty number is claimed then, and berth_export tells it",
    )


def _none_free(server: Server, count: int, claimed: str) -> NoSourceError:
    return NoSourceError(
        f"no database number is free on the external Redis at {server.host}:{server.port}.",
        why=f"of its {count} numbers, each is claimed by a run or holds keys of others (never"
        f" touched); one is for the claims, and 0 is taken only where berth_redis_db names it\n"
        f"claimed: {claimed}",
        remedy="empty a number that nobody needs (redis-cli -n <number> FLUSHDB), give the server"
        " more (databases 256 in redis.conf),\nor run fewer workers; claims of killed runs are of"
        f" use again after {GOOD_FOR // 60} minutes, and when their numbers are empty",
    )
