"""Finds the connections that are behind what async fixtures give, and ends them without a loop."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from pytest_berth.compat import asyncio_private, sqlalchemy_private
from pytest_berth.debug_log import ignoring

if TYPE_CHECKING:
    from sqlalchemy import Connection

Resource: TypeAlias = AsyncConnection | AsyncSession


def connections(resource: Resource) -> list[Connection]:
    """Return SQLAlchemy's connections that a session or connection has open."""
    return [each for each in _all(resource) if not (each.closed or each.invalidated)]


def hang_up(transport: Any) -> None:
    """Close a socket now: the server is to end the transaction before the clean-up looks."""
    with ignoring(OSError, why="the server has hung up already"):
        transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    asyncio_private.abort(transport)


def _all(resource: Resource) -> set[Connection]:
    if isinstance(resource, AsyncConnection):
        return {resource.sync_connection} if resource.sync_connection else set()
    return sqlalchemy_private.connections(resource.sync_session)
