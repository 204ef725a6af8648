import pytest


@pytest.fixture(autouse=True)
def database(pg_url):
    """Every test here works on the application's database."""
