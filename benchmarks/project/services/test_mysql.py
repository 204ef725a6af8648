"""Committing tests on a MySQL of 20 tables that holds what a session fixture has written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from models import User
from sqlalchemy import create_engine, insert, select

if TYPE_CHECKING:
    from sqlalchemy import Engine

TESTS = range(int(os.environ["BENCHMARK_TESTS"]))


@pytest.fixture(scope="session", autouse=True)
def _records(mysql_url: str) -> None:
    engine = create_engine(mysql_url)
    records = range(int(os.environ["BENCHMARK_RECORDS"]))
    with engine.begin() as connection:
        connection.execute(insert(User), [{"email": f"{number}@example.com"} for number in records])
    engine.dispose()


@pytest.mark.parametrize("number", TESTS)
def test_untouched(mysql_engine: Engine, number: int) -> None:
    with mysql_engine.connect() as connection:
        assert connection.scalar(select(User.id).limit(1))


@pytest.mark.parametrize("number", TESTS)
def test_small(mysql_engine: Engine, number: int) -> None:
    with mysql_engine.begin() as connection:
        connection.execute(insert(User).values(email="ada@example.com"))
