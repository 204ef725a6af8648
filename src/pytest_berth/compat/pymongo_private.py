"""pymongo's private names."""

from __future__ import annotations

from typing import Any

from pytest_berth.compat import asyncio_private
from pytest_berth.debug_log import ignoring


def abandon(client: Any) -> None:
    """Close a client of asyncio without awaiting: its loop may be closed, and is not ours."""
    if client._closed or client._topology is None:
        return
    client._topology.pop_all_sessions()
    _cancel(client._kill_cursors_executor)
    for server in client._topology._servers.values():
        monitor = server._monitor
        for each in (monitor, getattr(monitor, "_rtt_monitor", None)):
            if each is not None:
                _cancel(each._executor)
                _abort_all(each._pool)
        _abort_all(server.pool)
    client._closed = True


def _cancel(executor: Any) -> None:
    with ignoring(RuntimeError, why="the event loop of a client's task is closed"):
        executor.close()


def _abort_all(pool: Any) -> None:
    """Close the connections that a pool keeps for their next use."""
    for connection in list(pool.conns):
        transport = connection.conn.get_conn.transport
        if transport is not None:
            asyncio_private.abort(transport)
