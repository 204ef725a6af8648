"""pytest-mock-resources on a server that is there already: a database for each test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from models import Base
from pytest_mock_resources import PostgresConfig, create_postgres_fixture
from sqlalchemy import make_url

if TYPE_CHECKING:
    from sqlalchemy import Engine

SERVER = make_url(os.environ["BENCHMARK_URL"])


@pytest.fixture(scope="session")
def pmr_postgres_config() -> PostgresConfig:
    return PostgresConfig(
        host=SERVER.host,
        port=SERVER.port,
        username=SERVER.username,
        password=SERVER.password,
        root_database=SERVER.database,
    )


made_engine = create_postgres_fixture(Base)


@pytest.fixture
def pg_engine(made_engine: Engine) -> Engine:
    return made_engine
