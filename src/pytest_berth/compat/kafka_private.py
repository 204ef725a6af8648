"""kafka-python's private names."""

from __future__ import annotations

from typing import Any


def is_closed(client: Any) -> bool:
    """Tell whether a producer or consumer was closed."""
    return bool(getattr(client, "_closed", False))


def give_up(producer: Any, within: float) -> None:
    """End a producer that could not send all: its thread, and its wish to send.

    Args:
        producer: The producer, whose closing took too long.
        within: Seconds for its thread to end.
    """
    producer._closed = True
    producer._sender.force_close()
    producer._sender.join(within)
