"""The connections that tests are given: pika's, and aio-pika's."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pika
import pika.exceptions

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import require_package

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager

    from aio_pika.abc import AbstractConnection


@contextmanager
def connection(url: str) -> Iterator[pika.BlockingConnection]:
    """Connect once, without heartbeats, and close whatever is left of the connection."""
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 0
    parameters.connection_attempts = 1
    opened = pika.BlockingConnection(parameters)
    try:
        yield opened
    finally:
        with ignoring(pika.exceptions.AMQPError, OSError, why="it is closed, or lost, already"):
            if opened.is_open:
                opened.close()


def async_connection(url: str) -> AbstractAsyncContextManager[AbstractConnection]:
    """Return what connects by aio-pika when it is entered, in the event loop that runs then.

    Raises:
        MissingExtraError: aio-pika is not installed.
    """
    require_package("aio_pika", "rabbitmq", needed_by="rabbitmq_async_connection")
    return _async_connection(url)


@asynccontextmanager
async def _async_connection(url: str) -> AsyncIterator[AbstractConnection]:
    import aio_pika

    async with await aio_pika.connect(url) as opened:
        yield opened
