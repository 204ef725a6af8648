"""The session fixture that testcontainers' users write by hand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from models import Base
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

try:
    from testcontainers.community.postgres import PostgresContainer
except ImportError:  # before testcontainers 4.15
    from testcontainers.postgres import PostgresContainer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@pytest.fixture(scope="session")
def pg_engine() -> Iterator[Engine]:
    with PostgresContainer(os.environ["BENCHMARK_IMAGE"], driver="psycopg") as postgres:
        engine = create_engine(postgres.get_connection_url())
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
