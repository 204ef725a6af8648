"""berth's own connection of AMQP to a virtual host, by pika."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pika
import pika.exceptions

from pytest_berth.compat import pika_private
from pytest_berth.debug_log import ignoring
from pytest_berth.services.rabbitmq import urls
from pytest_berth.services.rabbitmq.management import ANSWERS_WITHIN, ForeignServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.api import Server

NAME = "pytest-berth"


class Message(NamedTuple):
    """A message as it is published again.

    Attributes:
        properties: Its properties, and its headers.
        body: Its content.
    """

    properties: pika.BasicProperties
    body: bytes


def connect(server: Server, vhost: str, within: float = ANSWERS_WITHIN) -> pika.BlockingConnection:
    """Connect to a virtual host, without heartbeats: between tests nobody would answer them.

    Raises:
        ForeignServerError: Another server answers.
        pika.exceptions.AMQPError: None does.
    """
    parameters = pika.URLParameters(urls.url(server, vhost))
    parameters.heartbeat = 0
    parameters.connection_attempts = 1
    parameters.socket_timeout = parameters.blocked_connection_timeout = within
    parameters.stack_timeout = within
    parameters.client_properties = {"connection_name": NAME}
    connection = pika.BlockingConnection(parameters)
    told = pika_private.server_properties(connection).get("cluster_name")
    if server.source != "external" and told != server.credentials.token:
        connection.close()
        raise ForeignServerError(server)
    return connection


class Connection:
    """A connection to a virtual host that is made anew when it is needed, and is gone.

    Args:
        server: The server.
        vhost: The virtual host.
    """

    def __init__(self, server: Server, vhost: str) -> None:
        self.server = server
        self.vhost = vhost
        self._open: pika.BlockingConnection | None = None
        self._channel: Any = None

    def channel(self) -> Any:
        """Return a channel that is open; what has been closed meanwhile is opened again."""
        if self._open is not None:
            with ignoring(pika.exceptions.AMQPError, why="it is connected again"):
                self._open.process_data_events(0)  # notices that it was closed
        if self._open is None or not self._open.is_open:
            self._open, self._channel = connect(self.server, self.vhost), None
        if self._channel is None or not self._channel.is_open:
            self._channel = self._open.channel()
        return self._channel

    def close(self) -> None:
        """Close the connection; the server may have done so, or may be gone."""
        connection, self._open, self._channel = self._open, None, None
        if connection is not None and connection.is_open:
            with ignoring(pika.exceptions.AMQPError, OSError, why="it is closed already"):
                connection.close()


def take(channel: Any, queue: str) -> tuple[Message, ...]:
    """Take all messages out of a queue, in their order."""
    found: list[Message] = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return tuple(found)
        found.append(Message(properties, body))


def publish(channel: Any, queue: str, messages: Sequence[Message]) -> None:
    """Publish messages to a queue, by the default exchange; returns when they are there."""
    for message in messages:
        channel.basic_publish("", queue, message.body, message.properties)
    channel.queue_declare(queue, passive=True)  # answered after they were routed
