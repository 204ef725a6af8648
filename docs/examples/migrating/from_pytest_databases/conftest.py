import psycopg
import pytest


@pytest.fixture
def connection(pg_dsn):
    with psycopg.connect(pg_dsn) as connection:
        yield connection
