"""Servers that somebody else has started, as users of ``berth_pg_url`` have them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from pytest_berth import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contracts.conftest import Berthed

CONTENTS = """
CREATE TABLE users (id serial PRIMARY KEY, email text UNIQUE NOT NULL);
INSERT INTO users (email) VALUES ('kept@example.com');
CREATE SEQUENCE tickets;
CREATE VIEW names AS SELECT email FROM users;
CREATE SCHEMA archive CREATE TABLE orders (id int);
SELECT nextval('tickets');
"""
# With xmin and ctid it tells even a row that was written back as it was.
CATALOG = """
SELECT 'relation', oid, xmin::text, relname FROM pg_class WHERE oid >= 16384 UNION ALL
SELECT 'schema', oid, xmin::text, nspname FROM pg_namespace WHERE oid >= 16384 UNION ALL
SELECT 'type', oid, xmin::text, typname FROM pg_type WHERE oid >= 16384 UNION ALL
SELECT 'function', oid, xmin::text, proname FROM pg_proc WHERE oid >= 16384 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Site:
    """A database that is not berth's, on a server that is not berth's, and a role there."""

    administration: str
    name: str
    password: str = field(default="p@ss/w%rd: #1?", repr=False)

    def url(self, **changes: Any) -> str:
        """Return the URL of the role in the database, or of another of these."""
        url = make_url(self.administration).set(
            username=self.name, password=self.password, database=self.name
        )
        changed = url.set(drivername="postgresql", **changes)
        return changed.render_as_string(hide_password=False)

    def allow(self, *rights: str) -> None:
        """Give the role rights such as ``CREATEDB``, and the use of the tables."""
        for right in rights:
            self.execute(f"ALTER ROLE {self.name} {right}")
        self.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {self.name}", self.name)
        self.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {self.name}", self.name)

    def own(self) -> None:
        """Make the role the owner of the database and of all that is in it."""
        self.execute(f"ALTER DATABASE {self.name} OWNER TO {self.name}")
        for kind in ("SCHEMA public", "SCHEMA archive", "TABLE users", "TABLE archive.orders"):
            self.execute(f"ALTER {kind} OWNER TO {self.name}", self.name)
        self.execute(f"ALTER SEQUENCE tickets OWNER TO {self.name}", self.name)

    def execute(self, statement: str, database: str = "") -> list[tuple[Any, ...]]:
        """Run a statement as the server's administrator."""
        with self.connect(database) as conn:
            result = conn.execute(statement.encode())
            return result.fetchall() if result.description else []

    def connect(self, database: str = "") -> psycopg.Connection[Any]:
        """Open a session of the server's administrator."""
        url = make_url(self.administration).set(drivername="postgresql")
        if database:
            url = url.set(database=database)
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return all that is in the database, and the databases that the role owns."""
        queries = {
            "catalog": CATALOG,
            "users": "SELECT xmin::text, ctid::text, * FROM users ORDER BY id",
            "orders": "SELECT xmin::text, ctid::text, * FROM archive.orders ORDER BY id",
            "databases": "SELECT oid, xmin::text, datname FROM pg_database"
            f" WHERE datname = '{self.name}' OR datdba = '{self.name}'::regrole ORDER BY oid",
            "tickets": "SELECT last_value, is_called FROM tickets",
        }
        return {name: self.execute(query, self.name) for name, query in queries.items()}

    def sessions(self) -> list[tuple[Any, ...]]:
        """Return the sessions that the role has on the server."""
        query = "SELECT pid, state, query FROM pg_stat_activity WHERE usename = {}"
        return self.execute(sql.SQL(query).format(sql.Literal(self.name)).as_string(None))

    def expect_no_sessions(self) -> None:
        """Wait until the server has noticed the end of the role's last session."""
        wait_for(lambda: not self.sessions(), 60)


@pytest.fixture(scope="session")
def outer_url(berthed_by_source: Callable[[str], Berthed]) -> str:
    """URL of a superuser on a server of this process's own.

    On the one that all workers of the outer run share, each run that ends there clears up behind
    those that a test has killed.
    """
    return berthed_by_source("external").url


@pytest.fixture
def site(outer_url: str) -> Iterator[Site]:
    """Give a database with contents, and a plain role; both are gone afterwards."""
    made = Site(outer_url, f"site_{os.urandom(4).hex()}")
    password = sql.Literal(made.password).as_string(None)
    made.execute(f"CREATE ROLE {made.name} LOGIN PASSWORD {password}")
    made.execute(f"CREATE DATABASE {made.name}")
    made.execute(CONTENTS, made.name)
    yield made
    made.execute(f"DROP DATABASE {made.name} WITH (FORCE)")
    made.execute(f"DROP ROLE {made.name}")
