"""What a test changes beside its database: users, databases, global variables.

All workers share a server, so that only a run's one process can tell whose a change is: with
several, and on a server that is not berth's own, nothing of this is looked at. What is new is
dropped, and variables are set back; what cannot be taken back is told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pymysql

from pytest_berth.services.mysql.connections import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_berth.services.mysql.connections import Connection

_QUERIES = {
    "database": r"""
SELECT schema_name, '' FROM information_schema.schemata WHERE schema_name NOT LIKE 'berth\_%'
""",
    "user": """
SELECT CONCAT(QUOTE(user), '@', QUOTE(host)), '' FROM mysql.user WHERE host <> ''
""",
    # MariaDB keeps them among the users.
    "role": "SELECT QUOTE(user), '' FROM mysql.user WHERE host = ''",
    "variable": "SELECT variable_name, variable_value FROM {}.global_variables",
}
_DROP = {"database": "DROP DATABASE {}", "user": "DROP USER {}", "role": "DROP ROLE {}"}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class ServerObjects:
    """Users, databases and global variables of a server that one process has for itself.

    Args:
        connection: Berth's own.
        place: The schema that tells the variables.
        note: Prints a line for the user.
    """

    def __init__(self, connection: Connection, place: str, note: Callable[[str], None]) -> None:
        self._connection = connection
        self._place = place
        self._note = note
        self.remember()

    def remember(self) -> None:
        """Take what is there for what was there before the next test."""
        self._known = self._read()

    def put_back(self, who: str) -> None:
        """Put back what a test has changed.

        Args:
            who: The test's name.
        """
        now = self._read()
        if now == self._known:
            return
        left = [told for kind in _DROP for told in self._drop(kind, now[kind])]
        left += self._set_back(now["variable"])
        self.remember()
        if left:
            self._note(
                f"mysql: {who} has left on the server what could not be taken back"
                f" ({'; '.join(left)}): let the test remove it"
            )

    def _read(self) -> Mapping[str, Mapping[str, str]]:
        queries = [query.format(self._place) for query in _QUERIES.values()]
        found = self._connection.send(";".join(queries))
        return {kind: dict(rows) for kind, rows in zip(_QUERIES, found, strict=True)}

    def _drop(self, kind: str, now: Mapping[str, str]) -> list[str]:
        known = self._known[kind]
        left = [f"{kind} {name} was dropped" for name in sorted(known.keys() - now.keys())]
        for name in sorted(now.keys() - known.keys()):
            statement = _DROP[kind].format(quoted(name) if kind == "database" else name)
            left += self._tried(f"{kind} {name}", statement)
        return left

    def _set_back(self, now: Mapping[str, str]) -> list[str]:
        left = list[str]()
        for name, value in self._known["variable"].items():
            if now.get(name) != value:
                given = value if _NUMBER.fullmatch(value) else self._connection.escape(value)
                left += self._tried(f"variable {name}", f"SET GLOBAL {quoted(name)} = {given}")
        return left

    def _tried(self, what: str, statement: str) -> list[str]:
        try:
            self._connection.send(statement)
        except pymysql.MySQLError as error:
            return [f"{what}: {error.args[-1]}"]
        return []
