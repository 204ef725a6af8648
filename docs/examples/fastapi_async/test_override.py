"""The application is given the session of the test, which is rolled back."""

import pytest
from fastapi.testclient import TestClient

from app import User, app, get_session


@pytest.mark.berth_pg(isolation="rollback")
@pytest.mark.parametrize("run", ["first", "second"])
def test_what_a_test_has_only_flushed_is_there(pg_session, pg_async_session, monkeypatch, run):
    monkeypatch.setitem(app.dependency_overrides, get_session, lambda: pg_async_session)
    pg_session.add(User(email="grace@example.com"))
    pg_session.flush()

    assert TestClient(app).get("/users").json() == ["grace@example.com"]
