"""A database as a test works with it: its addresses, an engine, a connection, a session."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_berth.errors import SettingsError
from pytest_berth.services.postgres import urls

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

    from pytest_berth.api import Server


@dataclass
class Database:
    """A database of the server, for one test.

    Attributes:
        name: Its name on the server.
        server: Where it is.
    """

    name: str
    server: Server = field(repr=False)
    _make_engine: Callable[[], Engine] = field(repr=False)
    _at_end: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    @property
    def database(self) -> str:
        """Its name, as an `IsolatedDatabase` calls it."""
        return self.name

    @property
    def url(self) -> str:
        """SQLAlchemy URL, as text."""
        return urls.url(self.server, self.name)

    @property
    def dsn(self) -> str:
        """Libpq URI, for psycopg, asyncpg, psql and others."""
        return urls.dsn(self.server, self.name)

    @cached_property
    def engine(self) -> Engine:
        """SQLAlchemy engine (psycopg 3; psycopg2 with SQLAlchemy 1.4)."""
        return self._make_engine()

    @cached_property
    def connection(self) -> Connection:
        """SQLAlchemy connection, opened when first used and closed after the test."""
        return self._at_end.enter_context(self.engine.connect())

    @cached_property
    def session(self) -> Session:
        """SQLAlchemy session, opened when first used and closed after the test."""
        engine = self.engine  # which tells where SQLAlchemy is missing
        from sqlalchemy.orm import Session

        return self._at_end.enter_context(Session(engine))

    def close(self) -> None:
        """Close connection and session."""
        self._at_end.close()


@dataclass
class PrivateDatabase(Database):
    """The private database of a test, which called gives further ones."""

    _another: Callable[[str | None, bool], Database] = field(repr=False)

    def __call__(self, *, template: str | None = None, empty: bool = False) -> Database:
        """Return another private database, for the same test.

        Args:
            template: The database of the server to clone; the run's schema and seeds when left
                out. Nobody may be connected to it.
            empty: Whether it is to have neither schema nor seeds.

        Raises:
            IsolationError: The template cannot be cloned.
            SettingsError: Both were given.
        """
        if template is not None and empty:
            raise SettingsError(
                "a private database cannot be both empty and the clone of a template.",
                why=f"pg_database(template={template!r}, empty=True) was called",
                remedy="leave one of the arguments out",
            )
        return self._another(template, empty)
