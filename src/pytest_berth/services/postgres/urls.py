"""How a database of a server is addressed: SQLAlchemy URLs, libpq DSNs, libpq variables."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.service import Server


def url(server: Server, database: str, driver: str = "psycopg") -> str:
    """Return a SQLAlchemy URL as text; an empty *driver* leaves it to the reader."""
    scheme = f"postgresql+{driver}" if driver else "postgresql"
    account = quote(server.credentials.user, safe="")
    if server.credentials.password:
        account += ":" + quote(server.credentials.password, safe="")
    query = dict(server.parameters)
    place = _authority(server)
    if server.host.startswith("/"):
        query = {"host": server.host, "port": str(server.port), **query}
    tail = f"?{urlencode(query)}" if query else ""
    return f"{scheme}://{account}@{place}/{quote(database, safe='')}{tail}"


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
