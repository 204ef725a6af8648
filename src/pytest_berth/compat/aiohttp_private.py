"""aiohttp's private names."""

from __future__ import annotations

from typing import Any

from pytest_berth.compat import asyncio_private


def abort(session: Any) -> None:
    """Drop a session's connections without awaiting: its loop may be closed, and is not ours.

    Args:
        session: An `aiohttp.ClientSession`, or None.
    """
    connector = getattr(session, "connector", None)
    if connector is None:
        return
    idle = [protocol for kept in connector._conns.values() for protocol, *_ in kept]
    for protocol in (*idle, *connector._acquired):
        transport = getattr(protocol, "transport", None)
        if transport is not None:
            asyncio_private.abort(transport)
    connector._conns.clear()
    session.detach()
