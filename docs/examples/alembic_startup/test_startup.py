import logging

import pytest
from fastapi.testclient import TestClient

from app import app


@pytest.mark.parametrize("run", ["first", "second"])
def test_a_user_is_registered_under_the_first_number(run):
    with TestClient(app) as client:
        assert client.post("/users/ada@example.com").json() == 1


def test_users_outlive_a_restart():
    with TestClient(app) as client:
        client.post("/users/ada@example.com")
    with TestClient(app) as restarted:
        assert restarted.get("/users").json() == ["ada@example.com"]


def test_nothing_is_left_to_be_migrated(caplog):
    with caplog.at_level(logging.INFO, logger="alembic"), TestClient(app):
        assert "Context impl PostgresqlImpl." in caplog.messages
        assert "Running upgrade" not in caplog.text
