"""Tests of an application that has an engine of its own, and commits."""

from __future__ import annotations

import os

import pytest
from models import User
from sqlalchemy import create_engine, select
from sqlalchemy.orm import sessionmaker

engine = create_engine(os.environ["DATABASE_URL"])
sessions = sessionmaker(engine)


def register(email: str) -> None:
    with sessions() as session:
        session.add(User(email=email))
        session.commit()


def emails() -> list[str]:
    with sessions() as session:
        return list(session.scalars(select(User.email)))


@pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))
def test_user_is_registered(number: int) -> None:
    register("a@example.com")
    assert emails() == ["a@example.com"]
