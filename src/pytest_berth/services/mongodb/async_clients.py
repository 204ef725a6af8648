"""pymongo's client for asyncio, which belongs to no event loop before its first command."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pymongo import AsyncMongoClient

from pytest_berth.compat import pymongo_private
from pytest_berth.services.mongodb.clients import CONNECT_WITHIN

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def opened(url: str) -> Iterator[AsyncMongoClient[dict[str, Any]]]:
    """Return a client, and drop its connections in the end, whether or not its loop lives on."""
    wait = CONNECT_WITHIN * 1000
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        url, serverSelectionTimeoutMS=wait, connect=False
    )
    try:
        yield client
    finally:
        pymongo_private.abandon(client)
