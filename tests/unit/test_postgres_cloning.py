"""How databases are copied on a server whose file system is not known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pytest_berth.services.postgres.databases import cloning

if TYPE_CHECKING:
    from psycopg import sql


class Server:
    """A connection to a server of some version, whose file system cannot share files."""

    def __init__(self, version: int, fsync: str) -> None:
        self.info = SimpleNamespace(server_version=version)
        self.fsync = fsync
        self.method = "copy"
        self.created: list[str] = []

    def execute(self, statement: str | sql.Composed) -> Any:
        """Do what the server would do."""
        text = statement if isinstance(statement, str) else statement.as_string(None)
        if text.startswith("SET "):
            self.method = text.rpartition(" ")[2]
        elif "set_config" in text:
            self.method = "clone"
        elif text.startswith("CREATE") and self.method == "clone":
            raise psycopg.errors.InternalError_("could not clone file")
        elif text.startswith("CREATE"):
            self.created.append(text.partition(" STRATEGY ")[2])
        return SimpleNamespace(fetchone=lambda: (self.fsync,))


@pytest.mark.parametrize(
    ("version", "fsync", "strategy"),
    [
        (140019, "off", ""),
        (150019, "off", "FILE_COPY"),
        (180006, "on", ""),
        (180006, "off", "FILE_COPY"),
    ],
)
def test_files_are_copied_where_they_cannot_be_shared(
    version: int, fsync: str, strategy: str
) -> None:
    server: Any = Server(version, fsync)
    cloning.create(server, "new", "template")
    assert server.created == [strategy]
    assert server.method == "copy"
