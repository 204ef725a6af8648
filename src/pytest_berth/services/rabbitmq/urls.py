"""How a RabbitMQ server, its virtual hosts and its management API are addressed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from pytest_berth.api import Credentials, Server
from pytest_berth.services.rabbitmq import options as ini

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.config.options import Settings

_PORTS = {"amqp": 5672, "amqps": 5671}
# The usual port of the management API, by which a server's parameters tell where it is.
MANAGEMENT = "15672"
_SCHEME, _QUERY, _MANAGEMENT_URL = "scheme", "query", "management_url"


def external(settings: Settings) -> Server | None:
    """Return the server that ``berth_rabbitmq_url`` names; None without one."""
    if not settings[ini.URL]:
        return None
    return server(settings[ini.URL], settings[ini.MANAGEMENT_URL])


def server(text: str, management_url: str = "") -> Server:
    """Return the external server at a URL; its virtual host is left alone."""
    parts = urlsplit(text)
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    host, port = parts.hostname or "localhost", parts.port or _PORTS[parts.scheme]
    given = {_SCHEME: parts.scheme, _QUERY: parts.query, _MANAGEMENT_URL: management_url}
    return Server(
        "rabbitmq",
        "external",
        host,
        port,
        Credentials(user, password, ""),
        detail=f"{parts.scheme} as {user}",
        reason=f"{ini.URL.name} is set",
        parameters={name: value for name, value in given.items() if value},
    )


def url(server: Server, vhost: str) -> str:
    """Return the URL that pika, aio-pika, kombu and most other clients take."""
    scheme = server.parameters.get(_SCHEME, "amqp")
    query = server.parameters.get(_QUERY, "")
    place = f"{scheme}://{_account(server)}{_host(server)}:{server.port}/{quote(vhost, safe='')}"
    return f"{place}?{query}" if query else place


def management_url(server: Server) -> str:
    """Return the URL of the management API, without the account."""
    if server.parameters.get(_MANAGEMENT_URL):
        return server.parameters[_MANAGEMENT_URL].rstrip("/")
    return f"http://{_host(server)}:{server.parameters.get(MANAGEMENT, MANAGEMENT)}"


def values(server: Server, vhost: str) -> Mapping[str, object]:
    """Return the values of the placeholders of ``berth_export`` for a virtual host."""
    return {
        "rabbitmq_url": url(server, vhost),
        "rabbitmq_host": server.host,
        "rabbitmq_port": server.port,
        "rabbitmq_vhost": vhost,
        "rabbitmq_user": server.credentials.user,
        "rabbitmq_password": server.credentials.password,
    }


def _account(server: Server) -> str:
    account = server.credentials
    return f"{quote(account.user, safe='')}:{quote(account.password, safe='')}@"


def _host(server: Server) -> str:
    return f"[{server.host}]" if ":" in server.host else server.host
