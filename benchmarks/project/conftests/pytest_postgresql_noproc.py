"""pytest-postgresql on a server that is there already: a database for each test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from models import Base
from pytest_postgresql import factories
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Engine

SERVER = make_url(os.environ["BENCHMARK_URL"])


def load(**_: Any) -> None:
    """Make the schema in the template database."""
    engine = _engine("benchmark_tmpl")
    Base.metadata.create_all(engine)


def _engine(database: str) -> Engine:
    return create_engine(SERVER.set(database=database), poolclass=NullPool)


server = factories.postgresql_noproc(
    host=SERVER.host,
    port=SERVER.port,
    user=SERVER.username,
    password=SERVER.password,
    dbname="benchmark",
    load=[load],
)
client = factories.postgresql("server")


@pytest.fixture
def pg_engine(client: psycopg.Connection) -> Engine:
    return _engine(client.info.dbname)
