"""pytest-databases: its container, and around it what it leaves to the user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from models import Base
from sqlalchemy import URL, create_engine
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_databases.docker.postgres import PostgresService
    from sqlalchemy import Engine

pytest_plugins = ["pytest_databases.docker.postgres"]


@pytest.fixture(scope="session")
def postgres_image() -> str:
    return os.environ["BENCHMARK_IMAGE"]


@pytest.fixture(scope="session")
def pg_engine(postgres_service: PostgresService) -> Iterator[Engine]:
    it = postgres_service
    url = URL.create("postgresql+psycopg", it.user, it.password, it.host, it.port, it.database)
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def pg_session(pg_engine: Engine) -> Iterator[Session]:
    with pg_engine.connect() as connection:
        transaction = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        transaction.rollback()
