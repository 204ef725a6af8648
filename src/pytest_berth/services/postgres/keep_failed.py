"""Lets what a failed test has done stay, in databases of their own."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg

from pytest_berth.api import Kept
from pytest_berth.errors import NotKeptError
from pytest_berth.services.postgres.databases import copy_contents, kept_databases
from pytest_berth.services.postgres.server import connections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_berth.services.postgres.databases.copy_contents import Reader
    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase

_ABORTED = "an error had aborted its transaction: what it had not committed before is gone"
_AT_ITS_END = "as the test's fixtures have left it at their end"


def keep(database: IsolatedDatabase, nodeid: str, name: str, until: float) -> Iterator[Kept]:
    """Keep what the running test has in one of the application's databases.

    Args:
        database: The database; the private ones of the test are of it.
        nodeid: The test.
        name: What no other failure is called.
        until: Until when it stays, in seconds since 1970.

    Raises:
        NotKeptError: The role cannot create databases.
    """
    if not database.is_ours:
        user = database.server.credentials.user
        why = f"{user!r} is a {database.rights} and cannot create databases"
        raise NotKeptError("no database can be made for it on this server.", why=why)
    for number, private in enumerate(database.lent, 1):
        kept = kept_databases.name(name, f"{database.name}own{number}")
        private.set_aside = _setting_aside(database, private.name, kept, nodeid, until)
        yield Kept(kept, _AT_ITS_END)
    if database.active is database:
        yield _keep_copy(database, nodeid, kept_databases.name(name, database.name), until)


def _keep_copy(database: IsolatedDatabase, nodeid: str, kept: str, until: float) -> Kept:
    notes: list[str] = []

    def copied_by(reader: Reader) -> None:
        def fill(name: str) -> None:
            with closing(connections.named(database.server, name)) as target:
                notes.append(copy_contents.copy(reader, target))

        kept_databases.create(database.server, kept, database.template, nodeid, until, fill)

    outer = database.outer
    if outer and outer.is_aborted():
        database.before_rollback(lambda reader: _told(database, copied_by, reader))
        return Kept(kept, f"{_ABORTED}; {_AT_ITS_END}")
    if outer and outer.is_in_transaction():
        copied_by(outer)
        notes += [_ABORTED] if outer.was_aborted else []
    else:
        with closing(connections.named(database.server, database.database)) as connection:
            copied_by(copy_contents.OtherConnection(connection))
    return Kept(kept, "; ".join(filter(None, notes)))


def _told(database: IsolatedDatabase, copy: Callable[[Reader], None], reader: Reader) -> None:
    try:
        copy(reader)
    except (psycopg.Error, TimeoutError) as error:
        database.berth.progress.note(f"postgres: what a failed test has done is not kept: {error}")


def _setting_aside(
    database: IsolatedDatabase, private: str, kept: str, nodeid: str, until: float
) -> Callable[[], None]:
    return lambda: kept_databases.set_aside(database.server, private, kept, nodeid, until)
