"""Finds the connections that are behind what the async fixtures give."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from pytest_berth.compat import sqlalchemy_private

if TYPE_CHECKING:
    from sqlalchemy import Connection

Resource: TypeAlias = AsyncConnection | AsyncSession


def connections(resource: Resource) -> list[Connection]:
    """Return SQLAlchemy's connections that a session or connection has open."""
    return [each for each in _all(resource) if not (each.closed or each.invalidated)]


def _all(resource: Resource) -> set[Connection]:
    if isinstance(resource, AsyncConnection):
        return {resource.sync_connection} if resource.sync_connection else set()
    return sqlalchemy_private.connections(resource.sync_session)
