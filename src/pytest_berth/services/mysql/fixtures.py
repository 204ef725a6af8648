"""The fixtures of MySQL, besides those that every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

    from pytest_berth.services.mysql.namespace import WorkerDatabase


@pytest.fixture(scope="session")
def mysql_schema(pytestconfig: pytest.Config) -> object:
    """What makes the schema; override it in the top ``conftest.py``.

    Scope: session.

    Returns:
        The lines of ``berth_mysql_schema``. An override may return a SQLAlchemy ``MetaData``, a
        function that takes a SQLAlchemy ``Connection``, a path of a SQL file, a line as in the
        ini file, or a list of these.
    """
    from pytest_berth.run.plugin_state import PLUGIN_STATE
    from pytest_berth.services.mysql.options import SCHEMA

    return pytestconfig.stash[PLUGIN_STATE].settings[SCHEMA]


@pytest.fixture(scope="session")
def mysql_seed(pytestconfig: pytest.Config) -> object:
    """What every test finds in the database; override it in the top ``conftest.py``.

    Scope: session.

    Returns:
        The lines of ``berth_mysql_seed``; an override may return whatever `mysql_schema` may.
    """
    from pytest_berth.run.plugin_state import PLUGIN_STATE
    from pytest_berth.services.mysql.options import SEED

    return pytestconfig.stash[PLUGIN_STATE].settings[SEED]


@pytest.fixture(scope="session")
def mysql_dsn(_mysql_namespace: WorkerDatabase) -> str:
    """URL of this worker's database that names no driver: ``mysql://user:password@host:port/name``.

    Scope: session. For other libraries than SQLAlchemy. A test that uses it gets the isolation
    ``truncation``, as it may commit.
    """
    return _mysql_namespace.dsn


@pytest.fixture
def _mysql_dedicated_dsn(_mysql_isolation: None, _mysql_namespace: WorkerDatabase) -> str:
    """`mysql_dsn` of a test that has a server of its own."""
    return _mysql_namespace.dsn


@pytest.fixture(scope="session")
def mysql_engine(_mysql_namespace: WorkerDatabase) -> Engine:
    """SQLAlchemy engine (PyMySQL) of this worker's database.

    Scope: session. A test that uses it gets the isolation ``truncation``, as it may commit.
    """
    return _mysql_namespace.engine


@pytest.fixture
def _mysql_dedicated_engine(_mysql_isolation: None, _mysql_namespace: WorkerDatabase) -> Engine:
    """`mysql_engine` of a test that has a server of its own."""
    return _mysql_namespace.engine


@pytest.fixture
def mysql_connection(
    _mysql_isolation: None, _mysql_namespace: WorkerDatabase
) -> Iterator[Connection]:
    """SQLAlchemy connection to this worker's database.

    Scope: function. In a rolled-back test its commits and rollbacks are savepoints, and it is
    the connection that `mysql_session` works on.
    """
    with _mysql_namespace.connection() as connection:
        yield connection


@pytest.fixture
def mysql_session(_mysql_isolation: None, _mysql_namespace: WorkerDatabase) -> Iterator[Session]:
    """SQLAlchemy session on this worker's database.

    Scope: function. In a rolled-back test its commits and rollbacks are savepoints: an
    ``IntegrityError`` that the test catches leaves the session usable after ``rollback()``.
    """
    with _mysql_namespace.session() as session:
        yield session


@pytest.fixture(scope="session")
def mysql_async_engine(_mysql_namespace: WorkerDatabase) -> AsyncEngine:
    """SQLAlchemy's async engine (aiomysql) of this worker's database, for any event loop.

    Scope: session. It has no pool. A test that uses it gets the isolation ``truncation``.
    """
    return _mysql_namespace.async_engine


@pytest.fixture
def _mysql_dedicated_async_engine(
    _mysql_isolation: None, _mysql_namespace: WorkerDatabase
) -> AsyncEngine:
    """`mysql_async_engine` of a test that has a server of its own."""
    return _mysql_namespace.async_engine


@pytest.fixture
def mysql_async_connection(
    _mysql_isolation: None, _mysql_namespace: WorkerDatabase
) -> Iterator[AsyncConnection]:
    """SQLAlchemy's async connection to this worker's database; it opens at its first statement.

    Scope: function. Its commits are real, and put back after the test: ``truncation``.
    """
    from pytest_berth.services.mysql import asynchronous

    with asynchronous.connection(_mysql_namespace.async_engine) as connection:
        yield connection


@pytest.fixture
def mysql_async_session(
    _mysql_isolation: None, _mysql_namespace: WorkerDatabase
) -> Iterator[AsyncSession]:
    """SQLAlchemy's async session on this worker's database, with ``expire_on_commit=False``.

    Scope: function. Its commits are real, and put back after the test: ``truncation``.
    """
    from pytest_berth.services.mysql import asynchronous

    with asynchronous.session(_mysql_namespace.async_engine) as session:
        yield session
