"""Shows a second connection what the running test has done.

What a rolled-back test has not committed no other connection can see: so the test's own connection
copies it into a database beside, when a debugger opens. Everything else is seen where it is.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pytest_berth.errors import NotKeptError
from pytest_berth.services.postgres import urls
from pytest_berth.services.postgres.databases import copy_contents, run_databases
from pytest_berth.services.postgres.isolation import reset_permission
from pytest_berth.services.postgres.server import connections

if TYPE_CHECKING:
    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase

_PEEK = "peek"


def url(database: IsolatedDatabase) -> str:
    """Return the URL of what a second connection is to look at.

    Raises:
        IsolationError: The role cannot create the database for a rolled-back test.
    """
    if database.outer is None:
        return urls.url(database.server, database.active.database)
    return urls.url(database.server, _make(database))


def look(database: IsolatedDatabase) -> str:
    """Return the name of the database to look at, with all that the test has done so far.

    Raises:
        NotKeptError: An error has aborted the test's transaction.
        IsolationError: The role cannot create the database for a rolled-back test.
    """
    outer = database.outer
    if outer is None:
        return database.active.database
    if not outer.is_in_transaction():
        raise NotKeptError(
            "an error has aborted the test's transaction.",
            why="PostgreSQL reads nothing there before its end",
            remedy="roll back, in the debugger or in the test, and stop again",
        )
    name = _make(database)
    with closing(connections.named(database.server, name)) as target:
        copy_contents.copy(outer, target)
    return name


def _make(database: IsolatedDatabase) -> str:
    """Make the database anew, as its template is, and return its name."""
    reset_permission.require_databases(database.server, database.rights)
    run = database.berth.run
    part = run_databases.part(run.worker, _PEEK)
    name = run_databases.database_name(run.id, part)
    with run_databases.administration(database.server) as connection:
        run_databases.drop_if_there(connection, run.id, name)
        run_databases.create(connection, database.server, run.id, name, database.template)
    return name
