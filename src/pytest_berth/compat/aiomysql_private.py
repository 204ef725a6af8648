"""aiomysql's private names."""

from __future__ import annotations

from typing import Any


def transport(connection: Any) -> Any:
    """Return asyncio's transport of a connection; None where it is closed."""
    return connection._writer.transport if connection._writer else None


def forget_transport(connection: Any) -> None:
    """Let a connection whose transport was closed be taken for a closed one."""
    connection._writer = None
