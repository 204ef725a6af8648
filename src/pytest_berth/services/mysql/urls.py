"""How a database of a server is addressed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pytest_berth.api import Credentials, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

USUAL_PORT = 3306
DRIVER = "pymysql"


# By which programs of MySQL's and MariaDB's, and many applications, find a database.
VARIABLES = ("MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_USER", "MYSQL_PWD", "MYSQL_DATABASE")
# What else leads programs to another server, or to options of the user's.
FOREIGN = frozenset({*VARIABLES, "MYSQL_UNIX_PORT", "MYSQL_HOME", "MYSQL_GROUP_SUFFIX"})


def url(server: Server, database: str, driver: str = DRIVER) -> str:
    """Return a SQLAlchemy URL as text; without a driver, one that most other readers take."""
    account = server.credentials
    password = f":{quote(account.password, safe='')}" if account.password else ""
    given = f"{quote(account.user, safe='')}{password}"
    host = f"[{server.host}]" if ":" in server.host else server.host
    scheme = f"mysql+{driver}" if driver else "mysql"
    query = f"?{urlencode(server.parameters, quote_via=quote)}" if server.parameters else ""
    return f"{scheme}://{given}@{host}:{server.port}/{quote(database, safe='')}{query}"


def client(server: Server, database: str, program: str = "") -> list[str]:
    """Return the command line of the client, without the password.

    Args:
        server: The server.
        database: Its database.
        program: The client; that of the server's own kind, when empty.
    """
    own = "mariadb" if "MariaDB" in server.version else "mysql"
    at = [f"--host={server.host}", f"--port={server.port}", "--protocol=TCP"]
    return [program or own, *at, f"--user={server.credentials.user}", database]


def server(text: str, reason: str) -> Server:
    """Return the external server that a URL names.

    Parameters such as ``ssl_ca`` are kept for all connections. A database in the URL is not worked
    in: it may be in use, and tests work in databases that the run creates.
    """
    parts = urlsplit(text)
    user = unquote(parts.username or "root")
    host, port = unquote(parts.hostname or "localhost"), parts.port or USUAL_PORT
    return Server(
        "mysql",
        "external",
        host,
        port,
        Credentials(user, unquote(parts.password or ""), ""),
        detail=f"mysql://{host}:{port} as {user}",
        reason=reason,
        parameters=dict(parse_qsl(parts.query)),
    )


def of_database(text: str) -> tuple[Server, str]:
    """Return server and database that a URL of `url` names."""
    return server(text, reason=""), unquote(urlsplit(text).path.lstrip("/"))


def variables(server: Server, database: str) -> Mapping[str, str]:
    """Return the environment variables by which programs find a database."""
    account = server.credentials
    found = (server.host, str(server.port), account.user, account.password, database)
    return dict(zip(VARIABLES, found, strict=True))


def values(server: Server, database: str) -> Mapping[str, object]:
    """Return the values of the placeholders of ``berth_export`` for a database."""
    return {
        "mysql_url": url(server, database),
        "mysql_dsn": url(server, database, ""),
        "mysql_host": server.host,
        "mysql_port": server.port,
        "mysql_user": server.credentials.user,
        "mysql_password": server.credentials.password,
        "mysql_database": database,
    }
