"""Tests that find rows of seeds, and commit one more."""

from __future__ import annotations

import os

import pytest
from models import User
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

MARKED = os.environ["BENCHMARK_MARKED"]
seeded = pytest.mark.berth_pg(
    isolation=MARKED or "truncation", seed=["users.csv"] if MARKED else []
)
numbered = pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))

if MARKED == "rollback":

    @seeded
    @numbered
    def test_in_a_session(pg_session: Session, number: int) -> None:
        pg_session.add(User(email="a@example.com"))
        pg_session.commit()
        assert pg_session.scalar(select(User.id).limit(1))

else:

    @seeded
    @numbered
    def test_that_commits(pg_engine: Engine, number: int) -> None:
        with Session(pg_engine) as session:
            session.add(User(email="a@example.com"))
            session.commit()
            assert session.scalar(select(User.id).limit(1))
