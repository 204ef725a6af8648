"""Returns the command that opens psql in a test's database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_berth.run.reuse import kept_states
from pytest_berth.services.postgres import urls

if TYPE_CHECKING:
    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase

_UNCOMMITTED = (
    "what a rolled-back test has written is not to be seen there, as it is not committed;"
)
_WHILE = "as long as the test is stopped: it is cleaned up behind it;"
_PEEK = "see it, without asking for the password: pytest --pdb, then pytest-berth shell --peek"
_KEPT = f"or {kept_states.LOOK_AFTERWARDS}"


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
    return "\n".join(
        [f"psql '{dsn}'", _UNCOMMITTED if database.rolled_back else _WHILE, _PEEK, _KEPT]
    )
