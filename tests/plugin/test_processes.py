"""A server process of the application, started by a fixture of the suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

APP = """
    import os
    from fastapi import FastAPI
    from sqlalchemy import create_engine, func, insert, select
    from models import User

    app = FastAPI()
    engine = create_engine(os.environ["DATABASE_URL"])

    @app.get("/users")
    def count() -> int:
        with engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(User))

    @app.post("/users/{email}", status_code=201)
    def register(email: str) -> None:
        with engine.begin() as connection:
            connection.execute(insert(User).values(email=email))
"""
CONFTEST = """
    import socket, subprocess, sys
    import httpx, pytest
    from pytest_berth import wait_for

    @pytest.fixture(scope="session")
    def server(pg_url):
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            port = listening.getsockname()[1]
            # The socket is handed on, so that nobody else can take the port.
            command = [sys.executable, "-m", "uvicorn", "app:app", "--fd", str(listening.fileno())]
            listening.set_inheritable(True)
            process = subprocess.Popen(command, pass_fds=[listening.fileno()])
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            wait_for(lambda: client.get("/users").is_success, 60, ignore=httpx.TransportError)
            yield client
        process.terminate()
        process.wait(60)
"""
TESTS = """
    import pytest
    from sqlalchemy import insert, select, text
    from models import User

    @pytest.mark.parametrize("n", range(3))
    def test_each_sees_what_the_other_committed(server, pg_session, n):
        assert server.get("/users").json() == 0
        pg_session.add(User(email="test@example.com"))
        pg_session.commit()
        assert server.get("/users").json() == 1
        assert server.post("/users/app@example.com").status_code == 201
        found = pg_session.scalars(select(User.email).order_by(User.id)).all()
        assert found == ["test@example.com", "app@example.com"]
"""


@pytest.fixture
def app(served: Project) -> Project:
    """A web application, and a fixture that runs it in a process of its own."""
    served.models("berth_export = DATABASE_URL = {pg_url}")
    served.write(app=APP, test_it=TESTS)
    served.conftest(CONFTEST)
    return served


def test_a_server_process_and_the_tests_see_each_others_commits(app: Project) -> None:
    app.run().assert_outcomes(passed=3)


def test_each_worker_has_a_server_process_of_its_own(app: Project) -> None:
    app.plugins = ("xdist",)
    app.run("-n", "2").assert_outcomes(passed=3)


def test_the_database_is_not_dropped_under_a_live_process(app: Project) -> None:
    app.write(
        test_schema="""
            from sqlalchemy import text

            def test_that_alters_the_schema(server, pg_engine):
                with pg_engine.begin() as connection:
                    connection.execute(text("ALTER TABLE users ADD COLUMN name text"))

            def test_after(server):
                assert server.get("/users").json() == 0
        """
    )
    result = app.run("test_schema.py")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*the database has to be made anew, and somebody else is connected to it.",
            "*why: pid *, application *",
            '*do:  give the test that changed it a database of its own: *isolation="database"*',
        ]
    )


def test_the_first_test_that_asks_late_leaves_the_process_its_database(app: Project) -> None:
    app.write(
        test_it="""
            import pytest

            @pytest.mark.parametrize("n", range(2))
            def test_it(request, n):
                server = request.getfixturevalue("server")
                assert server.get("/users").json() == 0
                server.post("/users/a@example.com")
        """
    )
    app.run().assert_outcomes(passed=2)
