"""How a virtual host is put back as it was.

What is more is deleted; what is missing, or another, is imported as definitions. Messages that
fixtures of a wider scope have published are taken once, and published anew after each test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_berth.services.rabbitmq import amqp, management
from pytest_berth.services.rabbitmq.look import (
    BINDING,
    EXACT,
    EXCHANGE,
    MESSAGES,
    PARAMETER,
    PERMISSION,
    POLICY,
    QUEUE,
    connections,
    look_at,
    named,
    of_binding,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_berth.services.rabbitmq.amqp import Connection
    from pytest_berth.services.rabbitmq.look import Key, Look, State
    from pytest_berth.services.rabbitmq.management import Management, Request

_COUNTED = {"classic"}
_STREAM = "stream"
_SECTIONS = {
    EXCHANGE: "exchanges",
    QUEUE: "queues",
    BINDING: "bindings",
    POLICY: "policies",
    PARAMETER: "parameters",
}
# What bindings lead to, as paths call it.
_KINDS = {QUEUE: "q", EXCHANGE: "e"}
_NO_ARGUMENTS = "{}"
# Parameters that have a path of their own.
_OWN_PATH = {"operator_policy": "operator-policies", "vhost-limits": "vhost-limits"}


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
        return look_at(self.management, self.vhost)

    def capture(self) -> State:
        """Return all that it holds; messages are taken out, and published again."""
        look, opened = self.look(), self._connections()
        names = [name for (kind, *rest) in look.definitions if kind == QUEUE for name in rest]
        if len(opened) == 1:  # it is berth's own, so that nobody consumes
            names = [name for name in names if not _is_empty(look, name)]
        state = dict(look.definitions)
        self._consumers.clear()
        if names:
            channel = self.connection.channel()
            for name in names:
                messages = () if _is_stream(look, name) else self._taken(channel, name)
                state |= {(MESSAGES, name): messages} if messages else {}
        # What tests have left open does not come to belong to fixtures.
        self._wide = opened - self._left
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
        owned = set(look.exclusive) - self._wide_queues
        declared = any(key[0] in {QUEUE, EXCHANGE} for key in surplus)
        if queues or owned or declared:
            self._end_connections(look, queues, needed=bool(owned or declared))
        self._remove(surplus)
        # Nothing tells how many messages a stream has, and nothing empties it.
        remade = [(QUEUE, name) for name in queues if refill and _is_stream(look, name)]
        self._remove(remade)
        gone = {*remade, *({key for key in before if key[0] != MESSAGES} - set(kept))}
        self._import(before, gone)
        self._put_messages(before, queues, look, refill=refill)
        self.dirty |= {named(key) for key in {*surplus, *gone}} - set(map(named, remade))

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
        return connections(self.management, self.vhost)

    def _end_connections(self, look: Look, queues: Iterable[str], *, needed: bool) -> None:
        """Close the connections that tests have left open, where they may hold something.

        That is a message which is not acknowledged, a consumer, or a queue of their own. It is also
        that something was declared: kombu and aio-pika remember that, and would not declare it
        again on the same connection. Others may be an application's, which will use them in its
        next test.
        """
        opened = self._connections() - self._wide
        self._left |= opened
        if opened and (needed or self._is_held(look, queues)):
            self.management.ask_all(
                [management.delete("connections", name, query=EXACT) for name in opened]
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
        properties = self._properties([key for key in bindings if key[-1] != _NO_ARGUMENTS])
        for key in bindings:
            if key not in properties:
                _unbind(self.connection.channel(), key)
        self.management.ask_all(
            [
                _unbinding(self.vhost, key, each)
                for key, found in properties.items()
                for each in found
            ]
        )
        # Each takes some milliseconds; the API deletes several at once.
        self.management.ask_all([each for key in keys for each in _removals(self.vhost, key)])

    def _properties(self, bindings: Sequence[Key]) -> Mapping[Key, Sequence[str]]:
        """Return what names each of the bindings in the API's paths.

        By AMQP, a binding is removed by its very arguments, with their types, which are not told:
        a time is told as a number.
        """
        found: dict[Key, list[str]] = {}
        for each in self.management.ask(management.get("bindings", self.vhost)) if bindings else ():
            found.setdefault(of_binding(each), []).append(each["properties_key"])
        return {key: found[key] for key in bindings if key in found}

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
                self.dirty.add(named((MESSAGES, name)))

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


def _is_empty(look: Look, name: str) -> bool:
    """Tell whether a queue is known to have no messages; the numbers of others are told late."""
    queue = look.queues[name]
    return queue.get("type") in _COUNTED and not queue["messages"]


def _is_stream(look: Look, name: str) -> bool:
    return bool(look.queues[name].get("type") == _STREAM)


def _removals(vhost: str, key: Key) -> Iterator[Request]:
    """Yield the requests that remove something; none for a binding, see `_unbinding`."""
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


def _unbinding(vhost: str, key: Key, properties: str) -> Request:
    """Return the request that removes a binding."""
    _, source, kind, destination, *_ = key
    return management.delete("bindings", vhost, "e", source, _KINDS[kind], destination, properties)


def _unbind(channel: Any, key: Key) -> None:
    """Remove a binding, which need not be there any more."""
    _, source, kind, destination, routing_key, arguments = key
    unbind = channel.queue_unbind if kind == QUEUE else channel.exchange_unbind
    unbind(destination, source, routing_key, json.loads(arguments))


def _ends(key: Key) -> set[Key]:
    """Return what a binding is from and to; nothing of other keys."""
    return {(EXCHANGE, key[1]), (key[2], key[3])} if key[0] == BINDING else set()
