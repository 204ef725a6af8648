"""Tests that commit, on connections of their own."""

from __future__ import annotations

import os

import pytest
from models import User
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session


@pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))
def test_user_is_saved(pg_engine: Engine, number: int) -> None:
    with Session(pg_engine) as session:
        session.add(User(email="a@example.com"))
        session.commit()
        assert session.scalars(select(User.email)).all() == ["a@example.com"]
