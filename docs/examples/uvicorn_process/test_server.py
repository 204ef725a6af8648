from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import select

from app import User


@pytest.fixture
def client(url):
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.mark.parametrize("run", ["first", "second"])
def test_a_user_is_registered_under_the_first_number(client, run):
    assert client.post("/users/ada@example.com").json() == 1


def test_of_many_at_the_same_time_one_is_registered(client):
    with ThreadPoolExecutor() as threads:
        responses = list(threads.map(client.post, ["/users/ada@example.com"] * 5))

    assert sorted(each.status_code for each in responses) == [201, 409, 409, 409, 409]


def test_what_a_test_has_committed_is_there_for_the_server(client, pg_session):
    pg_session.add(User(email="grace@example.com"))
    pg_session.commit()

    assert client.get("/users").json() == ["grace@example.com"]


def test_what_the_server_has_committed_is_there_for_the_test(client, pg_session):
    client.post("/users/ada@example.com")

    assert pg_session.scalars(select(User.email)).all() == ["ada@example.com"]
