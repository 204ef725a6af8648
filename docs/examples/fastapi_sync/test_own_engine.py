"""The application commits through its own engine; what it has written is put back."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app import User, app

client = TestClient(app)


@pytest.mark.parametrize("run", ["first", "second"])
def test_a_user_is_registered_under_the_first_number(run):
    assert client.post("/users/ada@example.com").json() == 1


def test_an_address_is_registered_once():
    assert client.post("/users/ada@example.com").status_code == 201
    assert client.post("/users/ada@example.com").status_code == 409
    assert client.get("/users").json() == ["ada@example.com"]


def test_what_a_test_has_committed_is_there_for_the_application(pg_session):
    pg_session.add(User(email="grace@example.com"))
    pg_session.commit()

    assert client.get("/users").json() == ["grace@example.com"]


def test_what_the_application_has_committed_is_there_for_the_test(pg_session):
    client.post("/users/ada@example.com")

    assert pg_session.scalars(select(User.email)).all() == ["ada@example.com"]
