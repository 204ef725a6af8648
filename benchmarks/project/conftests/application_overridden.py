"""What is written by hand where an application commits: its sessions join a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from models import Base
from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def tables(request: pytest.FixtureRequest) -> None:
    with request.module.engine.begin() as connection:  # a schema of another size may be there
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    Base.metadata.create_all(request.module.engine)


@pytest.fixture(autouse=True)
def rolled_back(request: pytest.FixtureRequest, tables: None) -> Iterator[None]:
    engine, sessions = request.module.engine, request.module.sessions
    with engine.connect() as connection:
        transaction = connection.begin()
        sessions.configure(bind=connection, join_transaction_mode="create_savepoint")
        yield
        sessions.configure(bind=engine, join_transaction_mode="conditional_savepoint")
        transaction.rollback()
