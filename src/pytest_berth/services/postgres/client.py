"""The command that opens psql in a database, and what it needs besides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.api import Client
from pytest_berth.services.postgres import urls

if TYPE_CHECKING:
    from pytest_berth.api import Server

_PYTHON = (
    """-- python -c "import psycopg; print(psycopg.connect().execute('TABLE users').fetchall())\""""
)


def psql(server: Server, database: str) -> Client:
    """Return the command, whose environment has the password, where that is known.

    Args:
        server: Where the database is.
        database: Its name.
    """
    place = ["-h", server.host, "-p", str(server.port), "-U", server.credentials.user]
    variables = urls.variables(server, database)
    return Client(
        ["psql", *place, database],
        {name: text for name, text in variables.items() if text},
        "install PostgreSQL's client (apt-get install postgresql-client, brew install libpq),"
        f" or add a command of yours, which then finds the database: {_PYTHON}",
    )
