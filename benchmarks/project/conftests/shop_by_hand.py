"""What the shop's suite needs without pytest-berth, as people write it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient
from shop.api import app
from shop.db import get_db
from shop.models import Base
from shop.repository import ShopRepository
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session

try:
    from testcontainers.community.postgres import PostgresContainer
except ImportError:  # before testcontainers 4.15
    from testcontainers.postgres import PostgresContainer


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "berth_pg(isolation, seed): files of rows for a test")


@pytest.fixture(scope="session")
def migrated_engine() -> Iterator[Engine]:
    with PostgresContainer(os.environ["BENCHMARK_IMAGE"], driver="psycopg") as postgres:
        url = postgres.get_connection_url()
        config = Config("alembic.ini")
        config.set_main_option("sqlalchemy.url", url)
        command.upgrade(config, "head")
        engine = create_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture
def pg_engine(migrated_engine: Engine, request: pytest.FixtureRequest) -> Iterator[Engine]:
    marker = request.node.get_closest_marker("berth_pg")
    with migrated_engine.begin() as connection:
        for path in marker.kwargs.get("seed", []) if marker else []:
            connection.exec_driver_sql(Path(path).read_text("utf-8"))
    yield migrated_engine
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with migrated_engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
        connection.execute(text("REFRESH MATERIALIZED VIEW sales_per_product"))


@pytest.fixture
def pg_session(pg_engine: Engine) -> Iterator[Session]:
    with Session(pg_engine) as session:
        yield session


@pytest.fixture
def pg_queries(pg_engine: Engine):
    @contextmanager
    def counted(at_most: int) -> Iterator[None]:
        statements: list[str] = []

        def note(connection, cursor, statement, parameters, context, many) -> None:
            statements.append(statement)

        event.listen(pg_engine, "before_cursor_execute", note)
        try:
            yield
        finally:
            event.remove(pg_engine, "before_cursor_execute", note)
        assert len(statements) <= at_most, statements

    return counted


@pytest.fixture
def repository(pg_session: Session) -> ShopRepository:
    return ShopRepository(pg_session)


@pytest.fixture
def client(pg_session: Session) -> Iterator[TestClient]:
    """A client of the application, whose requests use the session of the test."""
    app.dependency_overrides[get_db] = lambda: pg_session
    with TestClient(app) as client:
        yield client
    del app.dependency_overrides[get_db]
