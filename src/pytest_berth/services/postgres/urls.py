"""Addresses a database: SQLAlchemy URLs, libpq DSNs, libpq variables."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pytest_berth.api import Credentials, Server
from pytest_berth.errors import SettingsError
from pytest_berth.services.postgres import libpq_environment, sqlalchemy_compat

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST = r"(\[[^]]*\]|[^:,]*)(:\d*)?"
_SEVERAL_HOSTS = re.compile(rf"{_HOST}(,{_HOST})+")


def url(server: Server, database: str, driver: str | None = None) -> str:
    """Return a SQLAlchemy URL as text.

    Args:
        server: Where the database is.
        database: Its name.
        driver: The driver that it names; an empty one leaves it to the reader, and without one it
            is that which the installed SQLAlchemy knows.
    """
    driver = sqlalchemy_compat.driver() if driver is None else driver
    scheme = f"postgresql+{driver}" if driver else "postgresql"
    account = quote(server.credentials.user, safe="")
    if server.credentials.password:
        account += ":" + quote(server.credentials.password, safe="")
    query = dict(server.parameters)
    if server.source != "external":
        query |= libpq_environment.given_parameters(server.host, driver)
    if driver == "asyncpg" and "sslmode" in query:
        query["ssl"] = query.pop("sslmode")  # the same values by another name
    # SQLAlchemy 2.0 takes the database's name as it stands, libpq quoted; 2.1 takes either.
    name = database if driver else quote(database, safe="")
    place = _authority(server)
    if server.host.startswith("/"):
        query = {"host": server.host, "port": str(server.port), **query}
    # libpq takes a plus sign for itself, not for a blank.
    tail = f"?{urlencode(query, quote_via=quote)}" if query else ""
    return f"{scheme}://{account}@{place}/{name}{tail}"


def dsn(server: Server, database: str) -> str:
    """Return a libpq URI, which psycopg, psql and most other clients take."""
    return url(server, database, driver="")


def variables(server: Server, database: str) -> Mapping[str, str]:
    """Return libpq's environment variables, ``PGHOST`` and its kin."""
    account = server.credentials
    found = {"PGHOST": server.host, "PGPORT": str(server.port), "PGDATABASE": database}
    found |= {"PGUSER": account.user, "PGPASSWORD": account.password}
    if "sslmode" in server.parameters:
        found["PGSSLMODE"] = server.parameters["sslmode"]
    return found


def _authority(server: Server) -> str:
    if server.host.startswith("/"):
        return ""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"


def server(text: str, reason: str) -> Server:
    """Return the external server that a URL names; it may be SQLAlchemy's or libpq's.

    Socket directories (``?host=/var/run/postgresql``), ``sslmode`` and every other parameter are
    kept for all connections.

    Raises:
        SettingsError: The port is no number, there are several hosts, or a service is named.
    """
    from getpass import getuser

    parts = urlsplit(text)
    parameters = dict(parse_qsl(parts.query))
    named = (parts.netloc.rpartition("@")[2], parameters.get("host", ""))
    if any(map(_SEVERAL_HOSTS.fullmatch, named)):
        raise SettingsError(
            "the URL of the external server names several hosts.",
            why="berth makes and removes databases, all on one server",
            remedy="name one of them, that which takes writes",
        )
    if "service" in parameters:
        raise SettingsError(
            "the URL of the external server names a service.",
            why="only libpq reads its file: other drivers would go to another server",
            remedy="write out what pg_service.conf says of it: host, port, user, database",
        )
    host = parameters.pop("host", "") or unquote(parts.hostname or "") or "localhost"
    try:
        port = int(parameters.pop("port", 0) or parts.port or 5432)
    except ValueError:
        raise _no_port() from None
    user = unquote(parts.username or "") or os.environ.get("PGUSER") or getuser()
    database = unquote(parts.path.lstrip("/")) or user
    account = Credentials(user, unquote(parts.password or ""), database)
    return Server(
        "postgres",
        "external",
        host,
        port,
        account,
        detail=f"database {database} as {user}",
        reason=reason,
        parameters=parameters,
    )


def _no_port() -> SettingsError:
    # The text that stands for the port is not shown: it may be a part of the password.
    return SettingsError(
        "the URL of the external server has no number for a port.",
        why="a '/', '#', '?' or '@' in the password ends it unless it is quoted",
        remedy="quote such characters: / as %2F, # as %23, ? as %3F, @ as %40",
    )


@dataclass(frozen=True)
class Template:
    """A database's URL in an f-string-like template: ``{pg_url}`` or ``{pg_url:asyncpg}``."""

    server: Server
    database: str

    def __format__(self, driver: str) -> str:
        return url(self.server, self.database, driver or None)


def placeholders(name: str) -> frozenset[str]:
    """Return the placeholders of ``berth_export`` for a database that the settings name."""
    return frozenset(f"pg_{name}_{kind}" for kind in ("url", "dsn", "database"))


def values(server: Server, database: str, name: str = "") -> Mapping[str, object]:
    """Return the values of the placeholders of ``berth_export`` for a database.

    Args:
        server: Where it is.
        database: Its name on the server.
        name: What the settings call it, if they do.
    """
    if name:
        found = {"url": Template(server, database), "dsn": dsn(server, database)}
        return {f"pg_{name}_{kind}": value for kind, value in found.items()} | {
            f"pg_{name}_database": database
        }
    return {
        "pg_url": Template(server, database),
        "pg_dsn": dsn(server, database),
        "pg_host": server.host,
        "pg_port": server.port,
        "pg_user": server.credentials.user,
        "pg_password": server.credentials.password,
        "pg_database": database,
    }
