"""The fixtures of RabbitMQ, besides those that every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

    from aio_pika.abc import AbstractConnection
    from pika import BlockingConnection
    from pika.adapters.blocking_connection import BlockingChannel

    from pytest_berth.services.rabbitmq.namespace import RabbitNamespace


@pytest.fixture
def rabbitmq_connection(
    _rabbitmq_isolation: None, rabbitmq_url: str
) -> Iterator[BlockingConnection]:
    """Blocking connection of pika to this worker's virtual host.

    Scope: function. It is closed after the test, whatever that has left in it; it has no
    heartbeats, so that a test may be stopped in a debugger.
    """
    from pytest_berth.services.rabbitmq import clients

    with clients.connection(rabbitmq_url) as opened:
        yield opened


@pytest.fixture
def rabbitmq_channel(rabbitmq_connection: BlockingConnection) -> BlockingChannel:
    """A channel of `rabbitmq_connection`.

    Scope: function. Publishing waits for the server's confirmation, and raises where no queue is
    bound (``mandatory=True``) or the message is refused.
    """
    channel = rabbitmq_connection.channel()
    channel.confirm_delivery()
    return channel


@pytest.fixture
def rabbitmq_async_connection(
    _rabbitmq_isolation: None, rabbitmq_url: str
) -> AbstractAsyncContextManager[AbstractConnection]:
    """aio-pika's connection to this worker's virtual host: ``async with ... as connection``.

    Scope: function. It connects when it is entered, in whichever event loop runs then.
    """
    from pytest_berth.services.rabbitmq import clients

    return clients.async_connection(rabbitmq_url)


@pytest.fixture(scope="session")
def rabbitmq_management_url(_rabbitmq_namespace: RabbitNamespace) -> str:
    """URL of the server's management API, such as ``http://127.0.0.1:25672``, without the account.

    Scope: session. User and password are those of `rabbitmq_url`.
    """
    return _rabbitmq_namespace.management_url


@pytest.fixture
def _rabbitmq_own_url(
    _rabbitmq_isolation: None, _rabbitmq_namespace: RabbitNamespace
) -> Iterator[str]:
    """`rabbitmq_url` for a test that has a virtual host of its own."""
    with _rabbitmq_namespace.own_url() as url:
        yield url
