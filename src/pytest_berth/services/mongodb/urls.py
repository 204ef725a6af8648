"""How a server of MongoDB, and a database on it, are addressed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode

from pytest_berth.api import Credentials, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

USUAL_PORT = 27017
ADMIN = "admin"
# What a URL of several hosts, or with options, leaves in `Server.parameters`.
_SCHEME, _HOSTS = "scheme", "hosts"
# A server of berth's is the only member of its set: no driver need look for others, at addresses
# that are the container's own.
_ALONE = {"directConnection": "true"}


def server(text: str, reason: str) -> Server:
    """Return the external server that a URL names.

    Its options are kept for all connections. The database in it is not what tests work in; it says
    where the account is, unless ``authSource`` does.
    """
    scheme, _, rest = text.partition("://")
    account, _, place = rest.rpartition("@")
    place, _, query = place.partition("?")
    hosts, _, database = place.partition("/")
    user, _, password = account.partition(":")
    host, _, port = hosts.partition(",")[0].rpartition(":")
    if not port.isdigit():  # there is none
        host, port = hosts.partition(",")[0], ""
    options = dict(parse_qsl(query))
    if user and database:
        options.setdefault("authSource", unquote(database))
    return Server(
        "mongodb",
        "external",
        host.strip("[]"),
        int(port or USUAL_PORT),
        Credentials(unquote(user), unquote(password), ADMIN),
        detail=f"{scheme}://{hosts}" + (f" as {unquote(user)}" if user else ""),
        reason=reason,
        parameters={_SCHEME: scheme, _HOSTS: hosts, **options},
    )


def url(server: Server, database: str) -> str:
    """Return the URL of a database, which any driver takes.

    What connects by it bears the database's name, so that the server's operations can be told from
    those of other workers.
    """
    account = server.credentials
    given = f"{quote(account.user, safe='')}:{quote(account.password, safe='')}@"
    query = urlencode({**_options(server), "appName": database})
    place = f"{_hosts(server)}/{database}?{query}"
    return f"{server.parameters.get(_SCHEME, 'mongodb')}://{given if account.user else ''}{place}"


def mongosh(server: Server, database: str) -> str:
    """Return the command line of a shell in a database, which asks for the password."""
    account = server.credentials
    scheme, query = server.parameters.get(_SCHEME, "mongodb"), urlencode(_options(server))
    command = ["mongosh", f"{scheme}://{_hosts(server)}/{database}?{query}"]
    command += ["--username", account.user] if account.user else []
    return shlex.join(command)


def values(server: Server, database: str) -> Mapping[str, object]:
    """Return the values of the placeholders of ``berth_export`` for a database."""
    return {
        "mongo_url": url(server, database),
        "mongo_host": server.host,
        "mongo_port": server.port,
        "mongo_db": database,
        "mongo_user": server.credentials.user,
        "mongo_password": server.credentials.password,
    }


def _hosts(server: Server) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return server.parameters.get(_HOSTS) or f"{host}:{server.port}"


def _options(server: Server) -> Mapping[str, str]:
    if server.source != "external":
        return {"authSource": ADMIN, **_ALONE}
    return {
        name: value
        for name, value in server.parameters.items()
        if name not in {_SCHEME, _HOSTS, "appName"}
    }
