import pytest
from sqlalchemy import insert

from app import Country


def add_countries(connection):
    rows = [{"code": "CH", "name": "Switzerland"}, {"code": "NO", "name": "Norway"}]
    connection.execute(insert(Country), rows)


@pytest.fixture(scope="session")
def pg_seed():
    return [add_countries]
