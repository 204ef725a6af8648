"""What a virtual host holds: a look at it, what differs from before, and how it is put back.

A look is three requests at once: the definitions (exchanges, bindings, policies, parameters), the
queues with the numbers of their messages, and the permissions. All are exact. What is more is
deleted; what is missing, or another, is imported as definitions. Messages that fixtures of a wider
scope have published are taken once, and published anew after each test.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_berth.services.rabbitmq import amqp, management

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_berth.services.rabbitmq.amqp import Connection
    from pytest_berth.services.rabbitmq.management import Management, Request

# What kind of thing, and its name: ``("queue", "orders")``, ``("messages", "orders")``.
Key = tuple[str, ...]
State = Mapping[Key, Any]
QUEUE, EXCHANGE, BINDING, POLICY = "queue", "exchange", "binding", "policy"
PARAMETER, PERMISSION, MESSAGES = "parameter", "permission", "messages"
_TOTALS = "disable_stats=true&enable_queue_totals=true"
_EXACT = "disable_stats=true"
_COUNTED = {"classic"}
_STREAM = "stream"
_SECTIONS = {
    EXCHANGE: "exchanges",
    QUEUE: "queues",
    BINDING: "bindings",
    POLICY: "policies",
    PARAMETER: "parameters",
}
# Parameters that have a path of their own.
_OWN_PATH = {"operator_policy": "operator-policies", "vhost-limits": "vhost-limits"}


@dataclass(frozen=True)
class Look:
    """What a virtual host holds at a moment.

    Attributes:
        definitions: By key, as they are imported.
        queues: What the API tells of each queue, by its name; those of one connection as well.
    """

    definitions: State
    queues: Mapping[str, Mapping[str, Any]]

    @property
    def exclusive(self) -> list[str]:
        """The queues that belong to a connection, and end with it."""
        return [name for name, queue in self.queues.items() if queue.get("exclusive")]


@dataclass
class VhostState:
    """A worker's virtual host.

    Attributes:
        vhost: Its name.
        management: The management API.
        connection: berth's own connection to it.
        dirty: Names of what was found changed, since somebody has asked.
    """

    vhost: str
    management: Management
    connection: Connection
    dirty: set[str] = field(default_factory=set, init=False)
    _wide: set[str] = field(default_factory=set, init=False, repr=False)
    _left: set[str] = field(default_factory=set, init=False, repr=False)
    _wide_queues: set[str] = field(default_factory=set, init=False, repr=False)
    _consumers: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def look(self) -> Look:
        """Look at the virtual host.

        Raises:
            ApiRefusedError: It is gone, or not to be looked at any more.
        """
        told, queues, permissions = self.management.ask_all(
            [
                management.get("definitions", self.vhost),
                management.get("queues", self.vhost, query=_TOTALS),
                management.get("vhosts", self.vhost, "permissions"),
            ]
        )
        found = {queue["name"]: queue for queue in queues}
        definitions = dict(_definitions(told, found))
        definitions |= {(PERMISSION, each["user"]): each for each in permissions}
        return Look(definitions, found)

    def capture(self) -> State:
        """Return all that it holds; messages are taken out, and published again."""
        look = self.look()
        names = [name for (kind, *rest) in look.definitions if kind == QUEUE for name in rest]
        state = dict(look.definitions)
        if names:
            channel = self.connection.channel()
            for name in names:
                messages = () if _is_stream(look, name) else self._taken(channel, name)
                state |= {(MESSAGES, name): messages} if messages else {}
        # What tests have left open does not come to belong to fixtures.
        self._wide = self._connections() - self._left
        self._wide_queues = set(look.exclusive)
        return state

    def restore(self, before: State, *, refill: bool) -> None:
        """Make it hold what it held, and nothing else.

        Args:
            before: What it held.
            refill: Whether messages of fixtures are published anew even where their number is
                right: they may be others.
        """
        look = self.look()
        kept = [key for key, value in before.items() if look.definitions.get(key) == value]
        surplus = [key for key in look.definitions if key not in set(kept)]
        queues = [name for (kind, *rest) in kept if kind == QUEUE for name in rest]
        exclusive = set(look.exclusive) - self._wide_queues
        if queues or exclusive:
            self._end_holders(look, queues, owned=bool(exclusive))
        self._remove(surplus)
        # Nothing tells how many messages a stream has, and nothing empties it.
        remade = [(QUEUE, name) for name in queues if refill and _is_stream(look, name)]
        self._remove(remade)
        gone = {*remade, *({key for key in before if key[0] != MESSAGES} - set(kept))}
        self._import(before, gone)
        self._put_messages(before, queues, look, refill=refill)
        self.dirty |= {_named(key) for key in {*surplus, *gone}} - set(map(_named, remade))

    def _taken(self, channel: Any, queue: str) -> tuple[amqp.Message, ...]:
        declared = channel.queue_declare(queue, passive=True).method
        self._consumers[queue] = declared.consumer_count
        if not declared.message_count:
            return ()
        messages = amqp.take(channel, queue)
        amqp.publish(channel, queue, messages)
        return messages

    def _connections(self) -> set[str]:
        """Return the names of the connections that are open to it."""
        told = self.management.ask(management.get("connections", query=_EXACT))
        return {each["name"] for each in told if each["vhost"] == self.vhost}

    def _end_holders(self, look: Look, queues: Iterable[str], *, owned: bool) -> None:
        """Close the connections that tests have left open, where they may hold something.

        That is a message which is not acknowledged, a consumer, or a queue of their own. Others may
        be an application's, which will use them in its next test.
        """
        opened = self._connections() - self._wide
        self._left |= opened
        if opened and (owned or self._is_held(look, queues)):
            self.management.ask_all(
                [management.delete("connections", name, query=_EXACT) for name in opened]
            )

    def _is_held(self, look: Look, queues: Iterable[str]) -> bool:
        names = list(queues)
        if any(look.queues[name].get("type") not in _COUNTED for name in names):
            return True  # their numbers are told late
        if any(look.queues[name].get("messages_unacknowledged") for name in names):
            return True
        channel = self.connection.channel()
        return any(
            channel.queue_declare(name, passive=True).method.consumer_count
            > self._consumers.get(name, 0)
            for name in names
        )

    def _remove(self, keys: Sequence[Key]) -> None:
        names = {(key[0], key[1]) for key in keys if key[0] in {QUEUE, EXCHANGE}}
        # A binding goes with what it is from, or to.
        bindings = [key for key in keys if key[0] == BINDING and not _ends(key) & names]
        for key in bindings:
            _unbind(self.connection.channel(), key)
        # Each takes some milliseconds; the API deletes several at once.
        self.management.ask_all([each for key in keys for each in _removals(self.vhost, key)])

    def _import(self, before: State, gone: Iterable[Key]) -> None:
        """Import what is gone, with the bindings from and to it, which have gone with it."""
        names = {(key[0], key[1]) for key in gone if key[0] in {QUEUE, EXCHANGE}}
        keys = {*gone, *(key for key in before if _ends(key) & names)}
        self.management.ask_all(
            [
                management.put("permissions", self.vhost, key[1], body=before[key])
                for key in keys
                if key[0] == PERMISSION
            ]
        )
        body = {
            section: [before[key] for key in keys if key[0] == kind]
            for kind, section in _SECTIONS.items()
        }
        if any(body.values()):
            self.management.ask(
                management.Request("POST", management.path("definitions", self.vhost), body)
            )

    def _put_messages(
        self, before: State, kept: Iterable[str], look: Look, *, refill: bool
    ) -> None:
        wanted = {key[1]: value for key, value in before.items() if key[0] == MESSAGES}
        names = {*kept, *wanted}
        unlike = {name: self._is_unlike(look, name, len(wanted.get(name, ()))) for name in names}
        changed = [
            name for name in names if unlike[name] is not False or (refill and name in wanted)
        ]
        if not changed:
            return
        channel = self.connection.channel()
        for name in changed:
            messages = wanted.get(name, ())
            if unlike[name] is None and not (refill and messages):
                declared = channel.queue_declare(name, passive=True).method
                if declared.message_count == len(messages):
                    continue
            channel.queue_purge(name)
            if messages:
                amqp.publish(channel, name, messages)
            if unlike[name] is not False:
                self.dirty.add(_named((MESSAGES, name)))

    def _is_unlike(self, look: Look, name: str, wanted: int) -> bool | None:
        """Tell whether a queue has another number of messages; None where only AMQP can tell."""
        queue = look.queues.get(name)
        if queue is None:
            return wanted > 0
        if _is_stream(look, name):
            return False  # it was made anew
        if queue.get("type") not in _COUNTED:
            return None
        return bool(queue["messages"] != wanted)


def _is_stream(look: Look, name: str) -> bool:
    return bool(look.queues[name].get("type") == _STREAM)


def _definitions(
    told: Mapping[str, Any], queues: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Key, Any]]:
    """Yield what a virtual host holds by key, without what belongs to a connection."""
    for name, queue in queues.items():
        if not queue.get("exclusive"):
            names = ("name", "durable", "auto_delete", "arguments")
            yield (QUEUE, name), {each: queue[each] for each in names}
    for exchange in told.get("exchanges", ()):
        yield (EXCHANGE, exchange["name"]), exchange
    for binding in told.get("bindings", ()):
        if binding["destination_type"] != QUEUE or not _is_exclusive(queues, binding):
            yield _of_binding(binding), binding
    for policy in told.get("policies", ()):
        yield (POLICY, policy["name"]), policy
    for parameter in told.get("parameters", ()):
        if not parameter["value"]:
            continue  # what is left of a limit that was taken away
        yield (PARAMETER, parameter["component"], parameter["name"]), parameter


def _is_exclusive(queues: Mapping[str, Mapping[str, Any]], binding: Mapping[str, Any]) -> bool:
    return bool(queues.get(binding["destination"], {}).get("exclusive"))


def _of_binding(binding: Mapping[str, Any]) -> Key:
    names = ("source", "destination_type", "destination", "routing_key")
    arguments = json.dumps(binding["arguments"], sort_keys=True)
    return (BINDING, *(binding[name] for name in names), arguments)


def _removals(vhost: str, key: Key) -> Iterator[Request]:
    """Yield the requests that remove something; none for a binding."""
    if key[0] in {QUEUE, EXCHANGE}:
        yield management.delete(_SECTIONS[key[0]], vhost, key[1])
    elif key[0] == POLICY:
        yield management.delete("policies", vhost, key[1])
    elif key[0] == PERMISSION:
        yield management.delete("permissions", vhost, key[1])
    elif key[0] == PARAMETER and key[1] == "vhost-limits":
        for limit in ("max-connections", "max-queues"):
            yield management.delete("vhost-limits", vhost, limit)
    elif key[0] == PARAMETER and key[1] in _OWN_PATH:
        yield management.delete(_OWN_PATH[key[1]], vhost, key[2])
    elif key[0] == PARAMETER:
        yield management.delete("parameters", key[1], vhost, key[2])


def _unbind(channel: Any, key: Key) -> None:
    """Remove a binding, which need not be there any more."""
    _, source, kind, destination, routing_key, arguments = key
    unbind = channel.queue_unbind if kind == QUEUE else channel.exchange_unbind
    unbind(destination, source, routing_key, json.loads(arguments))


def _ends(key: Key) -> set[Key]:
    """Return what a binding is from and to; nothing of other keys."""
    return {(EXCHANGE, key[1]), (key[2], key[3])} if key[0] == BINDING else set()


def _named(key: Key) -> str:
    return f"binding {key[1]} -> {key[3]}" if key[0] == BINDING else " ".join(key)
