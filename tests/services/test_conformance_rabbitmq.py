"""RabbitMQ passes what every service has to: the published conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pytest_berth.services.rabbitmq.service import RABBITMQ
from pytest_berth.testing import ServiceConformance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class TestRabbitMQ(ServiceConformance):
    """By pika: a message in a queue of a fixed name."""

    service = RABBITMQ
    sources = ("container", "local")
    fixtures: ClassVar[Sequence[str]] = ("rabbitmq_channel", "rabbitmq_management_url")
    files: ClassVar[Mapping[str, str]] = {
        "notes.py": """
            import os
            import pika

            def url(server, management_url):
                os.environ["BERTH_RABBITMQ_MANAGEMENT_URL"] = management_url
                account = server.credentials
                return f"amqp://{account.user}:{account.password}@{server.host}:{server.port}"

            def write(channel):
                channel.queue_declare("notes", durable=True)
                channel.basic_publish("", "notes", b"value")
                channel.queue_declare("notes", passive=True)

            def write_by(url):
                with pika.BlockingConnection(pika.URLParameters(url)) as connection:
                    write(connection.channel())

            def read(channel):
                try:
                    declared = channel.connection.channel().queue_declare("notes", passive=True)
                except pika.exceptions.ChannelClosedByBroker:
                    return 0
                return declared.method.message_count
        """,
    }
    write = "__import__('notes').write(rabbitmq_channel)"
    read = "__import__('notes').read(rabbitmq_channel)"
    wide_write = "__import__('notes').write_by(rabbitmq_url)"
    server_url = "__import__('notes').url(rabbitmq_server.server, rabbitmq_management_url)"
    restores = True
