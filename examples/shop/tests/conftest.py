"""The application's own fixtures, built upon those of pytest-berth."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from shop.api import app
from shop.db import get_db
from shop.repository import ShopRepository


@pytest.fixture
def repository(pg_session: Session) -> ShopRepository:
    return ShopRepository(pg_session)


@pytest.fixture
def client(pg_session: Session) -> Iterator[TestClient]:
    """A client of the application, whose requests use the session of the test."""
    app.dependency_overrides[get_db] = lambda: pg_session
    with TestClient(app) as client:
        yield client
    del app.dependency_overrides[get_db]
