"""What a server knows of an error of its own: the key in the way, the limit, who may do what.

The server's messages name neither the command nor its key: those are in redis-py's frames that the
error has come through.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import redis

from pytest_berth.errors import causes
from pytest_berth.services.redis import describe_keys, urls
from pytest_berth.shown_values import word
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_berth.services.redis.worker_databases import WorkerDatabases

_IN_PIPELINE = re.compile(r"Command # (\d+) ")
_COMMAND = re.compile(r"the '([^' |]+)")
_MOST_KEYS, _LONGEST, _LOGGED = 5, 10_000, 20
_COMMAND_SHOWN = 100
_SCANS_WITHIN = 0.5
_MANY = "max number of clients reached"


class Sent(NamedTuple):
    """A command that has failed, and the port and the database number that it was sent to."""

    command: Sequence[Any]
    port: int
    number: int


class Asked(NamedTuple):
    """What is asked: about which error and command, in a test that began when."""

    databases: WorkerDatabases
    error: redis.RedisError
    sent: Sent | None
    began: float


def find(error: BaseException) -> redis.RedisError | None:
    """Return the error of redis-py's that a test has failed with, or that was the cause of it."""
    found = (each for each in causes(error) if isinstance(each, redis.RedisError))
    return next(found, None)


def lines(databases: WorkerDatabases, error: redis.RedisError, began: float) -> list[str]:
    """Return what the server knows of an error.

    Args:
        databases: The worker's database numbers.
        error: The error.
        began: When the test began, by `waiting.now`.
    """
    sent = _sent(error)
    asked = Asked(databases, error, sent, began)
    if _MANY in str(error):
        return _clients(asked)
    is_lost = isinstance(error, redis.ConnectionError)
    if is_lost and not isinstance(error, redis.AuthenticationError):
        return []
    if sent and sent.port != databases.server.port:
        return []  # it was another server's
    told = [f"command: {_spelt(sent.command)}"] if sent and sent.command else []
    if sent and sent.number not in databases.numbers:
        numbers = f"the run's number is {databases.number}"
        return [*told, f"it was sent in database number {sent.number}; {numbers}"]
    for kind, tell in _TELLS.items():
        if isinstance(error, kind):
            return [*told, *tell(asked)]
    if isinstance(error, redis.TimeoutError):
        told.append("the server answers berth: the client gave up waiting, by its socket_timeout")
    return [*told, *(_keys(databases, sent) if sent and sent.command else ())]


def _sent(error: BaseException) -> Sent | None:
    """Return the command that redis-py had sent when an error came."""
    found: Sent | None = None
    trace = error.__traceback__
    at = _IN_PIPELINE.match(str(error))
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        values = frame.f_locals
        if frame.f_globals.get("__name__", "").startswith("redis."):
            pool = getattr(values.get("self"), "connection_pool", None)
            options = getattr(pool, "connection_kwargs", None)
            if isinstance(options, dict):
                command = _command(values, int(at[1]) if at else 0)
                port = 0 if "path" in options else int(options.get("port", urls.USUAL_PORT))
                earlier = found.command if found else ()
                found = Sent(command or earlier, port, int(options.get("db") or 0))
    return found


def _command(values: dict[str, Any], number: int) -> Sequence[Any]:
    """Return the command of a frame: its own, or of a pipeline the one with a number, from 1."""
    if not number:
        own = values.get("args")
        return own if isinstance(own, tuple) else ()
    for name in ("commands", "command_stack", "stack"):
        several = values.get(name)
        if isinstance(several, list) and len(several) >= number:
            args = several[number - 1][0]
            return args if isinstance(args, (tuple, list)) else ()
    return ()


def _spelt(command: Sequence[Any]) -> str:
    """Return a command for people; its arguments may be a password, or a whole picture."""
    head, *rest = (_text(each) for each in command)
    if head.upper() in {"AUTH", "HELLO", "ACL", "CONFIG"}:
        return f"{head} ..." if rest else head
    parts, name = [head], ""
    for each in rest:
        parts.append(word(each, name=name, most=_COMMAND_SHOWN))
        name = each
    return " ".join(parts)


def _keys(databases: WorkerDatabases, sent: Sent) -> list[str]:
    """Return what the command's keys hold; of one that is not there, which are most like it."""
    client, told = databases.at(sent.number), list[str]()
    keys = _keys_of(client, sent.command)
    for key, state in zip(keys, describe_keys.describe(client, keys), strict=True):
        name = describe_keys.name(key)
        if state != describe_keys.NONE:
            told.append(f"{name} is a {state}")
            continue
        like = describe_keys.nearest(client, key, _SCANS_WITHIN)
        told.append(f"{name} is not there" + (f"; there are: {', '.join(like)}" if like else ""))
    return told


def _keys_of(client: redis.Redis, command: Sequence[Any]) -> list[bytes]:
    """Return which of a command's arguments are keys: the server tells."""
    sent = [each if isinstance(each, bytes) else str(each).encode() for each in command]
    words = [*sent[0].split(), *(each[:_LONGEST] for each in sent[1:])]
    try:
        found = cast("list[str]", client.command_getkeys(*words))
    except redis.ResponseError:
        return []  # it has none
    by_text = {_text(each): each for each in words}
    return [by_text[key] for key in found if key in by_text][:_MOST_KEYS]


def _memory(asked: Asked) -> list[str]:
    settings = asked.databases.home.config_get("maxmemory*")
    used = _info(asked.databases, "memory").get("used_memory", "?")
    return [
        f"used_memory is {used} bytes, maxmemory {settings.get('maxmemory')}"
        f" (maxmemory-policy {settings.get('maxmemory-policy')})"
    ]


def _rights(asked: Asked) -> list[str]:
    """Return what the server noted when it refused the command, or the password."""
    told, name = [], _COMMAND.search(str(asked.error))
    log = asked.databases.home.execute_command("ACL", "LOG", str(_LOGGED))  # type: ignore[no-untyped-call]
    seconds = now() - asked.began
    for entry in map(_fields, log):
        client = dict(part.partition("=")[::2] for part in _text(entry["client-info"]).split())
        reason, what = _text(entry["reason"]), _text(entry["object"])
        is_recent = float(_text(entry["age-seconds"])) <= seconds
        is_ours = int(client.get("db", -1)) in asked.databases.numbers
        # redis-py, too, sends commands that may be refused, when it connects.
        is_meant = reason != "command" or not name or what.startswith(name[1])
        if is_recent and is_ours and is_meant:
            refused = "its password" if reason == "auth" else f"the {reason} {what}"
            told.append(f"the user {_text(entry['username'])!r} was refused {refused}")
    return list(dict.fromkeys(told))[:_MOST_KEYS]


def _wants_password(asked: Asked) -> list[str]:
    wanted = asked.databases.server.credentials
    if not wanted.password:
        return ["the server that berth knows there wants no password"]
    return [
        f"the server wants the password of the user {wanted.user or 'default'!r}, which redis_url"
        " has; the application gets it by berth_export = REDIS_URL = {redis_url}",
        *(line for line in _rights(asked) if line.endswith("password")),
    ]


def _role(asked: Asked) -> list[str]:
    role = asked.databases.home.execute_command("ROLE")  # type: ignore[no-untyped-call]
    of = f" of {_text(role[1])}:{role[2]}" if _text(role[0]) in {"slave", "replica"} else ""
    return [f"its role is {_text(role[0])}{of}"]


def _clients(asked: Asked) -> list[str]:
    home = asked.databases.home
    limit, listed = home.config_get("maxclients").get("maxclients"), home.client_list()
    told = f"{len(listed)} connections are open, maxclients is {limit}"
    if asked.databases.server.source == "external":
        return [told]  # others' names are theirs
    names = Counter(each["name"] or f"no name, database number {each['db']}" for each in listed)
    most = ", ".join(f"{count} of {name}" for name, count in names.most_common(_MOST_KEYS))
    return [f"{told}: {most}"]


_TELLS: dict[type[Exception], Callable[[Asked], list[str]]] = {
    redis.exceptions.OutOfMemoryError: _memory,
    redis.exceptions.NoPermissionError: _rights,
    redis.exceptions.AuthenticationError: _wants_password,
    redis.exceptions.ReadOnlyError: _role,
}


def _info(databases: WorkerDatabases, section: str) -> dict[str, str]:
    # The worker's home gives it as it comes.
    text = _text(databases.home.info(section))
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _fields(answer: Any) -> dict[str, Any]:
    """Return an answer's fields by their names: a list, or with RESP3 a mapping."""
    if isinstance(answer, list):
        answer = dict(zip(answer[::2], answer[1::2], strict=True))
    return {_text(name): value for name, value in answer.items()}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
