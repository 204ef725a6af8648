"""pytest-postgresql: its process, its template, and a session as its documentation makes it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from models import Base
from pytest_postgresql import factories
from sqlalchemy import URL, create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from sqlalchemy import Engine


def load(**server: Any) -> None:
    """Make the schema in the template database."""
    engine = _engine(server["user"], server["host"], server["port"], server["dbname"])
    Base.metadata.create_all(engine)


def _engine(user: str, host: str, port: int, database: str) -> Engine:
    url = URL.create("postgresql+psycopg", user, None, host, int(port), database)
    return create_engine(url, poolclass=NullPool)


server = factories.postgresql_proc(executable=os.environ["BENCHMARK_PG_CTL"], load=[load])
client = factories.postgresql("server")


@pytest.fixture
def pg_session(client: psycopg.Connection) -> Iterator[Session]:
    info = client.info
    with Session(_engine(info.user, info.host, info.port, info.dbname)) as session:
        yield session
