"""The application is given the session of the test, which is rolled back."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app import User, app

pytestmark = [
    pytest.mark.usefixtures("one_session"),
    pytest.mark.berth_pg(isolation="rollback"),
]
client = TestClient(app)


@pytest.mark.parametrize("run", ["first", "second"])
def test_what_a_test_has_only_flushed_is_there_for_the_application(pg_session, run):
    pg_session.add(User(email="grace@example.com"))
    pg_session.flush()

    assert client.get("/users").json() == ["grace@example.com"]


def test_a_refused_address_leaves_the_session_usable(pg_session):
    assert client.post("/users/ada@example.com").status_code == 201
    assert client.post("/users/ada@example.com").status_code == 409
    pg_session.rollback()
    assert pg_session.scalars(select(User.email)).all() == ["ada@example.com"]
