"""What a virtual host holds at a moment, and what differs from before.

A look is three requests in one go: the definitions (exchanges, bindings, policies, parameters), the
queues with the numbers of their messages, and the permissions. All are exact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_berth.services.rabbitmq import management

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.services.rabbitmq.management import Management

# What kind of thing, and its name: ``("queue", "orders")``, ``("messages", "orders")``.
Key = tuple[str, ...]
State = Mapping[Key, Any]
QUEUE, EXCHANGE, BINDING, POLICY = "queue", "exchange", "binding", "policy"
PARAMETER, PERMISSION, MESSAGES = "parameter", "permission", "messages"
_TOTALS = "disable_stats=true&enable_queue_totals=true"
EXACT = "disable_stats=true"


@dataclass(frozen=True)
class Look:
    """What a virtual host holds at a moment.

    Attributes:
        definitions: By key, as they are imported.
        queues: What the API tells of each queue, by its name; those of one connection as well.
    """

    definitions: State
    queues: Mapping[str, Mapping[str, Any]]

    def differences(self, before: State) -> list[str]:
        """Return a line for each thing that differs: ``queue orders: new``."""
        keys = [key for key in before if key[0] != MESSAGES]
        told = [f"{named(key)}: gone" for key in keys if key not in self.definitions]
        for key, value in self.definitions.items():
            if key not in before:
                told.append(f"{named(key)}: new")
            elif before[key] != value:
                told.append(f"{named(key)}: changed")
        for name, queue in self.queues.items():
            ready, was = queue.get("messages_ready") or 0, len(before.get((MESSAGES, name), ()))
            if ready != was:
                told.append(f"queue {name}: {_counted(ready)} ready, {was} before the test")
        return told

    @property
    def unacknowledged(self) -> list[str]:
        """A line for each queue of which a consumer has messages that it has not acknowledged."""
        held = {name: each.get("messages_unacknowledged") for name, each in self.queues.items()}
        return [
            f"queue {name}: {_counted(number)} not acknowledged"
            for name, number in held.items()
            if number
        ]

    @property
    def exclusive(self) -> list[str]:
        """The queues that belong to a connection, and end with it."""
        return [name for name, queue in self.queues.items() if queue.get("exclusive")]


def look_at(api: Management, vhost: str) -> Look:
    """Look at a virtual host, by requests that are sent in one go.

    Raises:
        ApiRefusedError: It is gone, or not to be looked at any more.
    """
    told, queues, permissions = api.ask_all(
        [
            management.get("definitions", vhost),
            management.get("queues", vhost, query=_TOTALS),
            management.get("vhosts", vhost, "permissions"),
        ]
    )
    found = {queue["name"]: queue for queue in queues}
    definitions = dict(_definitions(told, found))
    definitions |= {(PERMISSION, each["user"]): each for each in permissions}
    return Look(definitions, found)


def connections(api: Management, vhost: str) -> set[str]:
    """Return the names of the connections that are open to a virtual host."""
    told = api.ask(management.get("connections", query=EXACT))
    return {each["name"] for each in told if each["vhost"] == vhost}


def _counted(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages} messages"


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
            yield of_binding(binding), binding
    for policy in told.get("policies", ()):
        yield (POLICY, policy["name"]), policy
    for parameter in told.get("parameters", ()):
        if not parameter["value"]:
            continue  # what is left of a limit that was taken away
        yield (PARAMETER, parameter["component"], parameter["name"]), parameter


def _is_exclusive(queues: Mapping[str, Mapping[str, Any]], binding: Mapping[str, Any]) -> bool:
    return bool(queues.get(binding["destination"], {}).get("exclusive"))


def of_binding(binding: Mapping[str, Any]) -> Key:
    """Return the key of a binding, as the API tells of it."""
    names = ("source", "destination_type", "destination", "routing_key")
    arguments = json.dumps(binding["arguments"], sort_keys=True)
    return (BINDING, *(binding[name] for name in names), arguments)


def named(key: Key) -> str:
    """Return how a key is told to people."""
    return f"binding {key[1]} -> {key[3]}" if key[0] == BINDING else " ".join(key)
