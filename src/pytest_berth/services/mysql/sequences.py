"""MariaDB's sequences: where they stand, and the way back there.

The server takes numbers ahead, by default a thousand, and tells only where these end. A sequence
that was set anew tells the very next number, until somebody takes it: so it is seen whether it was
used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymysql

from pytest_berth.debug_log import debug
from pytest_berth.services.mysql.connections import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.services.mysql.connections import Connection

_NAMES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = %s AND table_type = 'SEQUENCE' ORDER BY table_name
"""
_STANDING = "next_not_cached_value"
_SHAPE = "minimum_value, maximum_value, start_value, increment, cache_size, cycle_option"


def names(connection: Connection, database: str) -> list[str]:
    """Return the names of a database's sequences; MySQL has none."""
    return [name for (name,) in connection.rows(_NAMES, (database,))]


def standing(connection: Connection, database: str, sequences: Sequence[str]) -> dict[str, int]:
    """Return where sequences stand: the next number, or where those end that are taken ahead."""
    return dict(_read(connection, database, sequences, _STANDING))


def shapes(connection: Connection, database: str, sequences: Sequence[str]) -> list[Any]:
    """Return what sequences were made with, such as their steps."""
    return _read(connection, database, sequences, _SHAPE)


def restart(database: str, sequence: str, number: int) -> str:
    """Return the statement after which a sequence's next number is this one."""
    return f"ALTER SEQUENCE {quoted(database)}.{quoted(sequence)} RESTART WITH {number}"


def take(connection: Connection, database: str, sequence: str) -> int | None:
    """Take the next number of a sequence; None where it has no more."""
    try:
        ((number,),) = connection.rows(f"SELECT NEXTVAL({quoted(database)}.{quoted(sequence)})")
    except pymysql.MySQLError as error:
        debug("mysql: the sequence %s gives no number: %s", sequence, error)
        return None
    return int(number)


def settle(connection: Connection, database: str) -> None:
    """Let all sequences of a database tell their very next numbers."""
    for each in names(connection, database):
        number = take(connection, database, each)
        if number is not None:
            connection.send(restart(database, each, number))


def _read(connection: Connection, database: str, sequences: Sequence[str], what: str) -> list[Any]:
    asked = [
        f"SELECT {connection.escape(each)}, {what} FROM {quoted(database)}.{quoted(each)}"
        for each in sequences
    ]
    return connection.rows(" UNION ALL ".join(asked)) if asked else []
