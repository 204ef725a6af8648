import pytest


@pytest.fixture(scope="session")
def django_db_setup(pg_url):
    """The database is there: berth has migrated it, and gives each worker a clone."""
