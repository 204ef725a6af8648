import pytest
from sqlalchemy import select

from app import User, db


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.mark.parametrize("run", ["first", "second"])
def test_a_user_is_registered_under_the_first_number(client, run):
    assert client.post("/users/ada@example.com").json == {"id": 1}


def test_an_address_is_registered_once(client):
    assert client.post("/users/ada@example.com").status_code == 201
    assert client.post("/users/ada@example.com").status_code == 409
    assert client.get("/users").json == ["ada@example.com"]


def test_what_a_test_has_committed_is_there_for_the_application(client, pg_session):
    pg_session.add(User(email="grace@example.com"))
    pg_session.commit()

    assert client.get("/users").json == ["grace@example.com"]


def test_the_session_of_the_application_commits(app, pg_session):
    with app.app_context():
        db.session.add(User(email="ada@example.com"))
        db.session.commit()

    assert pg_session.scalars(select(User.email)).all() == ["ada@example.com"]
