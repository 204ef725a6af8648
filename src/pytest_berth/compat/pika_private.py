"""pika's private names."""

from __future__ import annotations

from typing import Any


def server_properties(connection: Any) -> dict[str, Any]:
    """Return what the server has told about itself when a blocking connection was opened."""
    properties: dict[str, Any] = connection._impl.server_properties
    return properties
