"""The same imports as every other project's, and no server."""

from __future__ import annotations

import os

import psycopg
import pytest
from models import User
from sqlalchemy import create_engine
from sqlalchemy.orm import Session


@pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))
def test_user_is_made(number: int) -> None:
    engine = create_engine("postgresql+psycopg://")
    assert psycopg.paramstyle == engine.dialect.paramstyle
    with Session(engine) as session:
        session.add(User(email="a@example.com"))
        assert len(session.new) == 1
