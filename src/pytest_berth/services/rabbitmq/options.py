"""The ini options of RabbitMQ."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pytest_berth.config import common_options as common
from pytest_berth.config.descriptor import Marker
from pytest_berth.config.options import Option, choice, text, words

SCHEMES = ("amqp", "amqps")
VHOST = "vhost"
PURGE = "purge"
# Where the server listens, and who may enter, is settled by the source that runs it.
_SETTLED = ("listeners.", "management.", "default_", "cluster_name", "loopback_users", "log.")


def _url(value: str) -> str:
    url = value.strip()
    parts = urlsplit(url)
    if url and (parts.scheme not in SCHEMES or not parts.hostname):
        raise ValueError("use a URL such as amqp://user:password@host:5672, or amqps://")
    return url


def _management_url(value: str) -> str:
    url = value.strip()
    parts = urlsplit(url)
    if url and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("use a URL such as http://host:15672, or https://")
    return url


VERSION: Option[str] = Option(
    "berth_rabbitmq_version",
    text,
    "4",
    "version of RabbitMQ: 4, 3.13; unless it is set, a local server may be any from 3.10 on",
)
IMAGE = common.image_such_as(
    "rabbitmq", "rabbitmq:3.13-management (default rabbitmq:<version>-management-alpine)"
)
URL: Option[str] = Option(
    "berth_rabbitmq_url",
    _url,
    "",
    "URL of a RabbitMQ that is there already; tests work in virtual hosts made for them",
)
MANAGEMENT_URL: Option[str] = Option(
    "berth_rabbitmq_management_url",
    _management_url,
    "",
    "URL of the management API of that server (default port 15672 of its host)",
)
SOURCE = common.source("rabbitmq", "RabbitMQ")
SETTINGS = common.server_settings(
    "rabbitmq",
    "server",
    "consumer_timeout = 5000",
    lambda name: name.lower().startswith(_SETTLED),
)
PLUGINS: Option[tuple[str, ...]] = Option(
    "berth_rabbitmq_plugins",
    words,
    (),
    "plugins of the server besides rabbitmq_management, such as rabbitmq_stream",
    type="linelist",
)
SCOPE: Option[str] = Option(
    "berth_rabbitmq_scope",
    choice(common.RUN, common.WORKER),
    common.RUN,
    "who shares a server: the run (default), or a worker",
)
ISOLATION: Option[str] = Option(
    "berth_rabbitmq_isolation",
    choice(PURGE, VHOST),
    PURGE,
    "how a test gets a clean slate: purge puts the worker's virtual host back after it, vhost gives"
    " it one of its own",
)
PORT = common.port("rabbitmq", "server", 5672)
OPTIONS: tuple[Option[Any], ...] = (
    VERSION,
    IMAGE,
    URL,
    MANAGEMENT_URL,
    SOURCE,
    SCOPE,
    ISOLATION,
    PLUGINS,
    PORT,
    SETTINGS,
)


class RabbitMarker(NamedTuple):
    """What ``@pytest.mark.berth_rabbitmq`` says about a test."""

    isolation: str | None = None


def berth_rabbitmq(*, isolation: str | None = None) -> RabbitMarker:
    """Take the arguments of ``@pytest.mark.berth_rabbitmq``.

    Args:
        isolation: ``vhost`` for a virtual host of the test's own.
    """
    return RabbitMarker(isolation)


MARKER = Marker(
    berth_rabbitmq,
    "berth_rabbitmq(isolation=None): isolation='vhost' gives the test a virtual host of its own",
    {"isolation": (PURGE, VHOST)},
)
