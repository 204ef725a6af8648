from contextlib import closing

import psycopg
import pytest


@pytest.fixture
def postgresql(pg_dsn):
    with closing(psycopg.connect(pg_dsn)) as connection:
        yield connection
