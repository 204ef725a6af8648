import pytest

from app import pool


@pytest.fixture(scope="session", autouse=True)
def open_pool(pg_dsn):
    with pool:
        yield
