import os
from pathlib import Path

import psycopg
import pytest

import shop


def answers():
    try:
        shop.connect().close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="session")
def database(docker_ip, docker_services):
    port = docker_services.port_for("postgres", 5432)
    os.environ["DATABASE_URL"] = f"postgresql://postgres:secret@{docker_ip}:{port}/postgres"
    docker_services.wait_until_responsive(timeout=30.0, pause=0.1, check=answers)
    with shop.connect() as connection:
        connection.execute(Path("schema.sql").read_text())


@pytest.fixture(autouse=True)
def clean_database(database):
    yield
    with shop.connect() as connection:
        connection.execute("TRUNCATE orders RESTART IDENTITY CASCADE")
