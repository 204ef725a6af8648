import os

import pytest
from sqlalchemy import create_engine, text

os.environ["DATABASE_URL"] = "postgresql+psycopg://postgres:postgres@localhost:5433/postgres"

from app import Base


@pytest.fixture(scope="session", autouse=True)
def tables():
    engine = create_engine(os.environ["DATABASE_URL"])
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture(autouse=True)
def clean_tables(tables):
    yield
    names = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with tables.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
