"""Tests for several workers, each of which commits a row; half of them also count connections."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from models import User
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
numbered = pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))


@numbered
def test_rolled_back(pg_session: Session, counted: Callable[[int], None], number: int) -> None:
    pg_session.add(User(email="a@example.com"))
    pg_session.commit()
    counted(pg_session.scalar(CLIENTS) or 0)


@numbered
def test_truncated(pg_engine: Engine, number: int) -> None:
    with Session(pg_engine) as session:
        session.add(User(email="a@example.com"))
        session.commit()
        assert session.scalars(select(User.email)).all() == ["a@example.com"]
