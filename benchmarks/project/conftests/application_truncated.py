"""What is written by hand where an application commits: every table is emptied after a test."""

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
def emptied(request: pytest.FixtureRequest, tables: None) -> Iterator[None]:
    yield
    names = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with request.module.engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
