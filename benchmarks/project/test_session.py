"""Tests in a session that is rolled back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from models import User
from sqlalchemy import select

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))
def test_user_is_saved(pg_session: Session, number: int) -> None:
    pg_session.add(User(email="a@example.com"))
    pg_session.commit()
    assert pg_session.scalars(select(User.email)).all() == ["a@example.com"]
