import pytest

from app import app, get_session


@pytest.fixture
def one_session(pg_session, monkeypatch):
    monkeypatch.setitem(app.dependency_overrides, get_session, lambda: pg_session)
