"""The tests of `test_engine`, after which nothing is cleaned: what they take by themselves."""

from __future__ import annotations

import os

import pytest
from models import User
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session


@pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))
def test_user_is_saved(made_engine: Engine, number: int) -> None:
    email = f"{number}@example.com"
    with Session(made_engine) as session:
        session.add(User(email=email))
        session.commit()
        assert session.scalars(select(User.email).where(User.email == email)).all() == [email]
