import pytest
from sqlmodel import Session


@pytest.fixture
def session(pg_connection):
    with Session(pg_connection, join_transaction_mode="create_savepoint") as session:
        yield session
