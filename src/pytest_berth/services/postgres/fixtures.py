"""The fixtures of Postgres, besides those that every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

    from pytest_berth.services.postgres.asynchronous.fixture_access import Access
    from pytest_berth.services.postgres.databases.database import PrivateDatabase
    from pytest_berth.services.postgres.databases.named_databases import NamedDatabases
    from pytest_berth.services.postgres.namespace import WorkerDatabase
    from pytest_berth.services.postgres.queries import Queries


@pytest.fixture(scope="session")
def pg_schema(pytestconfig: pytest.Config) -> object:
    """What makes the schema; override it in the top ``conftest.py``.

    Scope: session.

    Returns:
        The lines of ``berth_pg_schema``. An override may return a SQLAlchemy ``MetaData``, a
        function that takes a SQLAlchemy ``Connection``, a path of a SQL file, a line as in the
        ini file, or a list of these.
    """
    from pytest_berth.run.plugin_state import PLUGIN_STATE
    from pytest_berth.services.postgres.options import SCHEMA

    return pytestconfig.stash[PLUGIN_STATE].settings[SCHEMA]


@pytest.fixture(scope="session")
def pg_seed(pytestconfig: pytest.Config) -> object:
    """What every test finds in the database; override it in the top ``conftest.py``.

    Scope: session.

    Returns:
        The lines of ``berth_pg_seed``; an override may return whatever `pg_schema` may.
    """
    from pytest_berth.run.plugin_state import PLUGIN_STATE
    from pytest_berth.services.postgres.options import SEED

    return pytestconfig.stash[PLUGIN_STATE].settings[SEED]


@pytest.fixture(scope="session")
def pg_dsn(_pg_namespace: WorkerDatabase) -> str:
    """Libpq URI of this worker's database, for psycopg, asyncpg, psql and others.

    Scope: session. A test that uses it gets the isolation ``truncation``, as it may commit.
    """
    return _pg_namespace.dsn


@pytest.fixture(scope="session")
def pg_engine(_pg_namespace: WorkerDatabase) -> Engine:
    """SQLAlchemy engine (psycopg 3) of this worker's database.

    Scope: session. A test that uses it gets the isolation ``truncation``, as it may commit.
    """
    return _pg_namespace.engine


@pytest.fixture(scope="session")
def pg_databases(_pg_namespace: WorkerDatabase) -> NamedDatabases:
    """The databases of ``berth_pg_databases`` by their names: ``pg_databases["billing"].url``.

    Scope: session; ``session`` and ``connection`` of a database are a test's. A test that uses it
    gets the isolation ``truncation``, as it may commit.
    """
    return _pg_namespace.named


@pytest.fixture
def _pg_private_url(_pg_isolation: None, _pg_namespace: WorkerDatabase) -> str:
    """`pg_url` of a test with a private database."""
    return _pg_namespace.active.url


@pytest.fixture
def _pg_private_dsn(_pg_isolation: None, _pg_namespace: WorkerDatabase) -> str:
    """`pg_dsn` of a test with a private database."""
    return _pg_namespace.active.dsn


@pytest.fixture
def _pg_private_engine(_pg_isolation: None, _pg_namespace: WorkerDatabase) -> Engine:
    """`pg_engine` of a test with a private database."""
    return _pg_namespace.active.engine


@pytest.fixture
def _pg_private_async_engine(_pg_isolation: None, _pg_async: Access) -> AsyncEngine:
    """`pg_async_engine` of a test with a private database."""
    return _pg_async.engine


@pytest.fixture
def pg_database(_pg_isolation: None, _pg_namespace: WorkerDatabase) -> Iterator[PrivateDatabase]:
    """A private database for the test, with schema and seeds: its URL, engine, session.

    Scope: function. With the isolation ``database`` it is the one that `pg_url` and its kin lead
    to. ``pg_database(empty=True)`` and ``pg_database(template=...)`` give further ones.

    Raises:
        IsolationError: The role of an external server cannot create databases.
    """
    with _pg_namespace.private() as database:
        yield database


@pytest.fixture
def pg_peek_url(_pg_isolation: None, _pg_namespace: WorkerDatabase) -> str:
    """SQLAlchemy URL, as text, of what a second connection can see of this test.

    Scope: function. A rolled-back test's changes nobody else can see in PostgreSQL: there it leads
    to a copy of the database, which is made anew whenever a debugger opens (``breakpoint()``,
    ``--pdb``), and before that is as the test found it. Else it leads to the test's own database.

    Raises:
        IsolationError: The role of an external server cannot create databases.
    """
    from pytest_berth.services.postgres import peek

    return peek.url(_pg_namespace)


@pytest.fixture
def pg_connection(_pg_isolation: None, _pg_namespace: WorkerDatabase) -> Iterator[Connection]:
    """SQLAlchemy connection to this worker's database.

    Scope: function. In a rolled-back test its commits and rollbacks are savepoints, and it is
    the connection that `pg_session` works on.
    """
    with _pg_namespace.connection() as connection:
        yield connection


@pytest.fixture
def pg_session(_pg_isolation: None, _pg_namespace: WorkerDatabase) -> Iterator[Session]:
    """SQLAlchemy session on this worker's database.

    Scope: function. In a rolled-back test its commits and rollbacks are savepoints: an
    ``IntegrityError`` that the test catches leaves the session usable after ``rollback()``.
    """
    with _pg_namespace.session() as session:
        yield session


@pytest.fixture(scope="session")
def _pg_async(_pg_namespace: WorkerDatabase) -> Access:
    """The async side of the worker's database."""
    return _pg_namespace.asynchronous


@pytest.fixture(scope="session")
def pg_async_engine(_pg_async: Access) -> AsyncEngine:
    """SQLAlchemy's async engine of this worker's database, for any event loop: it has no pool.

    Scope: session. A test that uses it gets the isolation ``truncation``, as it may commit.
    """
    return _pg_async.engine


@pytest.fixture
def pg_async_connection(_pg_isolation: None, _pg_async: Access) -> Iterator[AsyncConnection]:
    """SQLAlchemy's async connection to this worker's database; it is open already.

    Scope: function. In a rolled-back test its commits and rollbacks are savepoints, it is the
    connection that `pg_async_session` works on, and it shares the transaction of `pg_session`.
    """
    with _pg_async.connection() as connection:
        yield connection


@pytest.fixture
def pg_async_session(_pg_isolation: None, _pg_async: Access) -> Iterator[AsyncSession]:
    """SQLAlchemy's async session on this worker's database, with ``expire_on_commit=False``.

    Scope: function. It can be used in any event loop, and need not be closed. In a rolled-back
    test its commits and rollbacks are savepoints, and it shares the transaction of `pg_session`.
    """
    with _pg_async.session() as session:
        yield session


@pytest.fixture
def pg_queries(_pg_isolation: None, pytestconfig: pytest.Config) -> Iterator[Queries]:
    """Counts and lists the statements that the test sends, without those of its fixtures.

    Scope: function. ``with pg_queries(at_most=3): ...`` fails where more are sent in the block;
    ``pg_queries.statements`` has all since the test's call has begun. It changes nothing about the
    isolation.
    """
    from pytest_berth.services.postgres.queries import counted

    with counted(pytestconfig) as queries:
        yield queries
