"""Returns the command that opens psql in a test's database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_berth.services.postgres import urls

if TYPE_CHECKING:
    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase

_UNCOMMITTED = "what a rolled-back test has written is not to be seen there: it is never committed"
_PASSWORD = (
    "it takes the password from PGPASSWORD; pg_dsn has it, and {pg_password} of berth_export"
)
_WHILE = "while the test is stopped: pytest --pdb; it is cleaned up behind it"


def command(database: IsolatedDatabase) -> str:
    """Return the command, and what is to be seen by it.

    The password is left out, as reports are kept and sent about.
    """
    server = database.server
    account = replace(server.credentials, password="")
    parameters = {name: each for name, each in server.parameters.items() if name != "password"}
    without = replace(server, credentials=account, parameters=parameters)
    dsn = urls.dsn(without, database.active.database)
    # Whatever a shell would take for its own is percent-encoded.
    lines = [f"psql '{dsn}'"]
    if server.credentials.password:
        lines.append(_PASSWORD)
    lines.append(_UNCOMMITTED if database.rolled_back else _WHILE)
    return "\n".join(lines)
