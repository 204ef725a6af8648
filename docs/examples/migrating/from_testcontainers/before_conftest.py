import os
from pathlib import Path

import pytest
from testcontainers.community.postgres import PostgresContainer

import shop


@pytest.fixture(scope="session")
def database():
    with PostgresContainer("postgres:17-alpine", driver=None) as postgres:
        os.environ["DATABASE_URL"] = postgres.get_connection_url()
        with shop.connect() as connection:
            connection.execute(Path("schema.sql").read_text())
        yield


@pytest.fixture(autouse=True)
def clean_database(database):
    yield
    with shop.connect() as connection:
        connection.execute("TRUNCATE orders RESTART IDENTITY CASCADE")
