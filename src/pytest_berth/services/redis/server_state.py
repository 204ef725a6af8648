"""What belongs to a whole server beside its keys: settings, users, functions, replication, modules.

Whether a test may have changed any of it is told by the server's count of its commands, which comes
with the round trip that a clean slate takes anyway. Only where a command was sent that can change
something, all of it is read, compared, and put back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import redis

from pytest_berth.debug_log import ignoring

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Marks = tuple[tuple[bytes, bytes], ...]
# Redis 6.2 counts all commands of a kind together, later ones each by itself.
_MARKS = re.compile(
    rb"^cmdstat_((?:acl|config|function|module)"
    rb"(?:\|(?:setuser|deluser|load|set|resetstat|delete|flush|restore|loadex|unload))?"
    rb"|debug|failover|replicaof|slaveof):(calls=\d+,usec=\d+)",
    re.MULTILINE,
)
# A word of a user's rules, or a selector between parentheses.
_RULE = re.compile(r"\([^)]*\)|\S+")


@dataclass(frozen=True)
class Standing:
    """What stands on a server beside its keys.

    Attributes:
        settings: The values of CONFIG by their names.
        users: The rules of ACL by the names of the users.
        functions: The code of functions by the names of their libraries.
        modules: The names of loaded modules.
        role: ``master``, unless it replicates another server.
        dump: All functions, as FUNCTION RESTORE takes them; None before Redis 7.
    """

    settings: Mapping[str, str]
    users: Mapping[str, str]
    functions: Mapping[str, str]
    modules: frozenset[str]
    role: str
    dump: bytes | None

    def on_another(self, began: Standing, there: Standing) -> Standing:
        """Return this as it is to be on another server, where some settings have to differ.

        Args:
            began: How the first server began.
            there: How the other one begins.
        """
        changed = {
            name: value for name, value in self.settings.items() if began.settings[name] != value
        }
        return replace(self, settings={**there.settings, **changed})

    def differences(self, other: Standing) -> list[str]:
        """Return the names of what differs: ``maxmemory``, ``user app``, ``function library``."""
        return [
            *_differing("", self.settings, other.settings),
            *_differing("user ", self.users, other.users),
            *_differing("function ", self.functions, other.functions),
            *(f"module {name}" for name in sorted(self.modules ^ other.modules)),
            *(["replication"] if self.role != other.role else []),
        ]


def marks(commandstats: bytes) -> Marks:
    """Return how often, and for how long, commands have run that can change what stands there."""
    return tuple(_MARKS.findall(commandstats))


def read(client: redis.Redis) -> Standing:
    """Return what stands on the server now.

    Raises:
        redis.ResponseError: The default user may not look, any more.
    """
    dump, libraries = None, []
    with ignoring(redis.ResponseError, why="before Redis 7 there are no functions"):
        dump = _run(client, "FUNCTION DUMP")
        libraries = list(map(_fields, _run(client, "FUNCTION LIST", "WITHCODE")))
    users = (rules(line).split(" ", 2)[1:] for line in _run(client, "ACL LIST"))
    modules = map(_fields, _run(client, "MODULE LIST"))
    return Standing(
        settings=_texts(_run(client, "CONFIG GET", "*")),
        users=dict(users),
        functions={_text(each["library_name"]): _text(each["library_code"]) for each in libraries},
        modules=frozenset(_text(each["name"]) for each in modules),
        role=_text(_run(client, "ROLE")[0]),
        dump=dump,
    )


def rules(line: Any) -> str:
    """Return a line of ACL LIST, without the flag that a user has from being reset on."""
    return _text(line).replace(" sanitize-payload", "")


def put_back(client: redis.Redis, before: Standing) -> list[str]:
    """Make the server as it was, and return the names of what differs still."""
    now = read(client)
    for command in _commands(before, now):
        with ignoring(redis.ResponseError, why="the last look tells what is not put back"):
            _run(client, *command)
    return before.differences(read(client)) if before != now else []


def _commands(before: Standing, now: Standing) -> Iterator[tuple[str | bytes, ...]]:
    if now.role != before.role and before.role == "master":
        yield ("REPLICAOF", "NO", "ONE")
    for name, value in before.settings.items():
        if now.settings.get(name) != value:
            yield ("CONFIG SET", name, value)
    for name in now.users.keys() - before.users.keys():
        yield ("ACL DELUSER", name)
    for name, rules in before.users.items():
        if now.users.get(name) != rules:
            yield ("ACL SETUSER", name, "reset", *_RULE.findall(rules))
    if now.functions != before.functions and before.dump is not None:
        yield ("FUNCTION RESTORE", before.dump, "FLUSH")
    for name in now.modules - before.modules:
        yield ("MODULE UNLOAD", name)
    # The switches of DEBUG cannot be read. Redis 7 and later refuse it, unless they are told to.
    yield ("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    for log in ("SLOWLOG RESET", "LATENCY RESET", "ACL LOG RESET"):
        yield (log,)


def _run(client: redis.Redis, *command: str | bytes) -> Any:
    return client.execute_command(*command)  # type: ignore[no-untyped-call]


def _texts(answer: Mapping[Any, Any]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in answer.items()}


def _differing(kind: str, one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    names = sorted(one.keys() | other.keys())
    return [f"{kind}{name}" for name in names if one.get(name) != other.get(name)]


def _fields(answer: Any) -> dict[str, Any]:
    """Return an answer's fields by their names: a list, or with RESP3 a mapping."""
    if isinstance(answer, list):
        answer = dict(zip(answer[::2], answer[1::2], strict=True))
    return {_text(name): value for name, value in answer.items()}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
