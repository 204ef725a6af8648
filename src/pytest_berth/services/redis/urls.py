"""How a database number of a server is addressed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pytest_berth.api import Credentials, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

USUAL_PORT = 6379
_SCHEME = "scheme"


def url(server: Server, database: int) -> str:
    """Return the URL that redis-py and most other clients take."""
    scheme = server.parameters.get(_SCHEME, "redis")
    query = {name: value for name, value in server.parameters.items() if name != _SCHEME}
    place = f"{_account(server.credentials)}{_host(server)}"
    if scheme == "unix":
        place, query = f"{place}{quote(server.host)}", {"db": str(database), **query}
    else:
        place = f"{place}:{server.port}/{database}"
    return f"{scheme}://{place}{'?' if query else ''}{urlencode(query)}"


def server(text: str, reason: str) -> Server:
    """Return the external server that a URL names.

    Parameters such as ``ssl_ca_certs`` are kept for all connections. A database number in the URL
    is not: it may be in use, and tests work in numbers that they have claimed.
    """
    parts = urlsplit(text)
    parameters = dict(parse_qsl(parts.query))
    parameters.pop("db", None)
    user = unquote(parts.username or parameters.pop("username", ""))
    password = unquote(parts.password or "") or parameters.pop("password", "")
    unix = parts.scheme == "unix"
    return Server(
        "redis",
        "external",
        unquote(parts.path) if unix else unquote(parts.hostname or "localhost"),
        0 if unix else parts.port or USUAL_PORT,
        Credentials(user, password, "0"),
        detail=f"{parts.scheme} as {user or 'default'}",
        reason=reason,
        parameters={_SCHEME: parts.scheme, **parameters},
    )


def redis_cli(server: Server, database: int) -> str:
    """Return the command line that opens a shell in a number, and asks for the password."""
    asks = ["--askpass"] * bool(server.credentials.password)
    return shlex.join([*cli_arguments(server, database), *asks])


def cli_arguments(server: Server, database: int) -> list[str]:
    """Return redis-cli with its arguments, which find a database number."""
    scheme, account = server.parameters.get(_SCHEME, "redis"), server.credentials
    words = ["redis-cli"]
    words += (
        ["-s", server.host] if scheme == "unix" else ["-h", server.host, "-p", str(server.port)]
    )
    words += ["--tls"] * (scheme == "rediss") + ["-n", str(database)]
    words += ["--user", account.user] if account.user not in {"", "default"} else []
    return words


def values(server: Server, database: int) -> Mapping[str, object]:
    """Return the values of the placeholders of ``berth_export`` for a database number."""
    return {
        "redis_url": url(server, database),
        "redis_host": server.host,
        "redis_port": server.port,
        "redis_db": database,
        "redis_password": server.credentials.password,
    }


def _account(credentials: Credentials) -> str:
    if not credentials.user and not credentials.password:
        return ""
    return f"{quote(credentials.user, safe='')}:{quote(credentials.password, safe='')}@"


def _host(server: Server) -> str:
    if server.host.startswith("/"):
        return ""
    return f"[{server.host}]" if ":" in server.host else server.host
