"""What RabbitMQ is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from pytest_berth.config.descriptor import Dedicated, FromCompose, Service
from pytest_berth.services.rabbitmq import options as ini

RABBITMQ = Service(
    "rabbitmq",
    "pytest_berth.services.rabbitmq.backend:RabbitMQ",
    label="RabbitMQ",
    version=ini.VERSION,
    image=ini.IMAGE,
    url=ini.URL,
    source=ini.SOURCE,
    settings=ini.SETTINGS,
    scope=ini.SCOPE,
    port=ini.PORT,
    options=ini.OPTIONS,
    compose=FromCompose(
        images=("rabbitmq",),
        accounts=("RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_VHOST"),
        without_effect=("RABBITMQ_ERLANG_COOKIE", "RABBITMQ_NODENAME", "TZ"),
    ),
    extra="rabbitmq",
    packages=("pika",),
    fixtures=(
        "rabbitmq_connection",
        "rabbitmq_channel",
        "rabbitmq_async_connection",
        "rabbitmq_management_url",
    ),
    fixture_module="pytest_berth.services.rabbitmq.fixtures",
    address_help="URL of this worker's virtual host:"
    " ``amqp://berth:...@127.0.0.1:15672/berth_k3x9_gw0``.",
    placeholders=(
        "rabbitmq_url",
        "rabbitmq_host",
        "rabbitmq_port",
        "rabbitmq_vhost",
        "rabbitmq_user",
        "rabbitmq_password",
    ),
    marker=ini.MARKER,
    dedicated=Dedicated(ini.ISOLATION, ini.VHOST, {"rabbitmq_url": "_rabbitmq_own_url"}),
    usual_start=5.0,
)
