import pytest
from django.db import connection
from sqlalchemy import text

COUNT = text("SELECT count(*) FROM users_user")


@pytest.mark.django_db
@pytest.mark.parametrize("run", ["first", "second"])
def test_a_user_is_registered_under_the_first_number(client, run):
    assert client.post("/users/ada@example.com").json() == {"id": 1}


@pytest.mark.django_db
def test_an_address_is_registered_once(client):
    assert client.post("/users/ada@example.com").status_code == 201
    assert client.post("/users/ada@example.com").status_code == 409


@pytest.mark.django_db
def test_the_transaction_of_pytest_django_is_there_as_ever(client, pg_connection):
    client.post("/users/ada@example.com")

    assert connection.in_atomic_block
    assert pg_connection.scalar(COUNT) == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("run", ["first", "second"])
def test_what_is_committed_is_there_for_others(client, pg_connection, run):
    assert client.post("/users/ada@example.com").json() == {"id": 1}
    assert pg_connection.scalar(COUNT) == 1
