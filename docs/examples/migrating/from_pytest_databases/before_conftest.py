from pathlib import Path

import psycopg
import pytest

pytest_plugins = ["pytest_databases.docker.postgres"]


@pytest.fixture(scope="session")
def database_url(postgres_service):
    account = f"{postgres_service.user}:{postgres_service.password}"
    place = f"{postgres_service.host}:{postgres_service.port}/{postgres_service.database}"
    url = f"postgresql://{account}@{place}"
    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.execute(Path("schema.sql").read_text())
    return url


@pytest.fixture
def connection(database_url):
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()
        connection.execute("TRUNCATE orders RESTART IDENTITY CASCADE")
