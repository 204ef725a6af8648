"""Servers with the names that an application has written down, and cannot be told others."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from pytest_berth.sources import ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Project

# As so many projects have it: the database is the administrator's own.
APPLICATION = """
    import psycopg

    URL = "postgresql://postgres:postgres@localhost:{port}/postgres"

    def emails():
        with psycopg.connect(URL) as connection:
            return [email for (email,) in connection.execute("SELECT email FROM users")]

    def register(email):
        with psycopg.connect(URL) as connection:
            connection.execute("INSERT INTO users VALUES (%s)", [email])
"""
MIGRATION = """
    import psycopg
    from application import URL

    with psycopg.connect(URL) as connection:
        connection.execute("CREATE TABLE users (email text UNIQUE)")
"""
TESTS = """
    import os
    import psycopg
    import pytest
    from application import URL, emails, register

    @pytest.mark.parametrize("number", range(2))
    def test_what_the_application_commits_is_gone_afterwards(pg_session, number):
        assert emails() == []
        register("a@example.com")
        assert emails() == ["a@example.com"]

    def test_a_changed_schema_is_put_back(pg_session):
        with psycopg.connect(URL) as connection:
            connection.execute("DROP TABLE users")

    def test_crash(pg_session):
        if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
            os._exit(3)

    @pytest.mark.berth_pg(isolation="database")
    def test_a_private_database_has_another_name(pg_engine):
        assert emails() == []
        register("a@example.com")
        assert pg_engine.url.database != "postgres"
        with pg_engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT * FROM users").all() == []

    def test_the_application_has_left_nothing_beside_a_private_database(pg_url):
        assert emails() == []
        assert pg_url.rpartition("/")[2] == "postgres"

    def test_fails(pg_session):
        with psycopg.connect(URL) as connection:
            connection.execute("SELECT there_is_no_such_column")
"""
NAMES = [
    "berth_pg_user = postgres",
    "berth_pg_password = postgres",
    "berth_pg_database = postgres",
    "berth_pg_schema = command: python migration.py",
]


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is free, and that no other run takes meanwhile."""
    reservation = ports.reserve()
    reservation.lock.release()
    return reservation.port


@pytest.mark.parametrize("source", ["local", "container"])
def test_an_application_finds_what_it_has_written_down(
    project: Project, port: int, require_source: Callable[[str], None], source: str
) -> None:
    require_source(source)
    scope = "worker" if source == "local" else "run"
    project.ini(*NAMES, f"berth_pg_port = {port}", f"berth_pg_scope = {scope}")
    application = APPLICATION.format(port=port)
    project.write(application=application, migration=MIGRATION, test_it=TESTS)
    project.plugins = ("xdist",) if source == "local" else ()
    # The worker that takes the place of a crashed one goes on with its server, at that port.
    worker = ("-n1",) if source == "local" else ()

    result = project.run(f"--berth-source={source}", *worker)

    result.assert_outcomes(passed=6 - len(worker), failed=1 + len(worker))
    result.stdout.fnmatch_lines(
        [
            "berth: *berth_pg_password = [*][*][*] (pytest.ini)*",
            "truncation: berth_pg_database is another way in",
            '* postgres ERROR:  column "there_is_no_such_column" does not exist*',
            f"*ready in *:{port} *",
        ]
    )
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port))
