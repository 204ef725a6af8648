"""What is usually written by hand around a server that is there already.

``pg_session`` is SQLAlchemy's recipe for joining a session into an external transaction;
``pg_engine`` empties every table after a test that commits.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from models import Base
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@pytest.fixture(scope="session")
def made_engine() -> Iterator[Engine]:
    engine = create_engine(os.environ["BENCHMARK_URL"])
    with engine.begin() as connection:  # a schema of another size may be there
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def pg_session(made_engine: Engine) -> Iterator[Session]:
    with made_engine.connect() as connection:
        transaction = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        transaction.rollback()


@pytest.fixture
def pg_engine(made_engine: Engine) -> Iterator[Engine]:
    yield made_engine
    names = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with made_engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
