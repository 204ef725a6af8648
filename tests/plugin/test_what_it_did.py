"""A failing test's report tells what the test has sent to Postgres, whichever way it did so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project

TESTS = '''
    import asyncio, subprocess, sys, threading, time, unittest
    import asyncpg, psycopg, psycopg2, pytest
    from psycopg import sql
    from psycopg2.extras import DictCursor
    from sqlalchemy import create_engine, select, text
    from application import add, engine_of, ask, find
    from models import User

    @pytest.fixture
    def seeded(pg_session):
        add(pg_session, "seeded")
        pg_session.commit()

    def test_alchemy(pg_session, seeded):
        add(pg_session, "new")
        assert len(find(pg_session)) == 2
        pg_session.execute(text("SELECT * FROM users WHERE token = :token"), {"token": "hunter2"})

    def test_set_up(pg_session, seeded):
        with pytest.raises(Exception):
            pg_session.execute(text("SELECT set_up"))
        raise ValueError

    def test_engine_in_a_thread(pg_url):
        engine = engine_of(pg_url)
        worker = threading.Thread(target=ask, args=[engine, 41])
        worker.start()
        worker.join()
        ask(engine, 42)
        engine.dispose()
        raise ValueError

    def test_drivers(pg_dsn):
        with psycopg.connect(pg_dsn) as three:
            three.execute("SELECT %s, %s", [1, "x" * 9999])
            three.cursor().executemany("INSERT INTO users (email) VALUES (%s)", [("a",), ("b",)])
            three.execute(sql.SQL("SELECT {} AS composed").format("x"))
            with three.cursor("named") as server:
                server.execute("SELECT 3 AS at_server")
                server.fetchall()
            with three.cursor().copy("COPY users (email) FROM STDIN") as copy:
                copy.write_row(["copied"])
            with three.pipeline():
                three.execute("SELECT 4 AS in_pipeline")
            list(three.cursor().stream("SELECT 5 AS streamed"))
        two = psycopg2.connect(pg_dsn)
        with two.cursor() as cursor:
            cursor.execute("SELECT %(answer)s AS of_two", {"answer": 6})
        two.close()
        dicts = psycopg2.connect(pg_dsn, cursor_factory=DictCursor)
        with dicts.cursor() as cursor:
            cursor.execute("SELECT 7 AS of_dict")
            assert cursor.fetchone()["of_dict"] == 7
            cursor.execute("SELECT * FROM of_nothing")

    async def of_async(dsn, url):
        from sqlalchemy.ext.asyncio import create_async_engine
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1 AS of_async_alchemy"))
        await engine.dispose()
        async with await psycopg.AsyncConnection.connect(dsn) as three:
            await three.execute("SELECT 2 AS of_async_three")
            async with three.cursor().copy("COPY (SELECT 3) TO STDOUT") as copy:
                assert [each async for each in copy]
        connection = await asyncpg.connect(dsn)
        await asyncio.gather(connection.fetch("SELECT 4 AS of_asyncpg, $1::int", 9))
        prepared = await connection.prepare("SELECT 5 AS prepared, $1::text")
        await prepared.fetch("x")
        await connection.execute("SELECT * FROM of_asyncpg")

    @pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
    def test_async(pg_dsn, pg_url, driver):
        asyncio.run(of_async(pg_dsn, pg_url.replace("+psycopg", "+" + driver)))

    @pytest.mark.usefixtures("pg_session")
    class TestOfUnittest(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def given(self, pg_session):
            self.session = pg_session

        def test_it(self):
            find(self.session)
            self.fail()

    def test_frozen(pg_session, monkeypatch):
        for name in ("time", "monotonic", "perf_counter"):
            monkeypatch.setattr(time, name, lambda: 1.0)
        pg_session.execute(text("SELECT 1 AS while_frozen"))
        raise ValueError

    PROGRAM = """
    import psycopg, sys
    with psycopg.connect(sys.argv[1], application_name="worker", autocommit=True) as connection:
        connection.execute("SELECT 1 AS elsewhere")
        print(flush=True)
        sys.stdin.read()
    """

    def test_other_processes(pg_dsn, request):
        other = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, pg_dsn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        request.addfinalizer(other.communicate)
        own = psycopg.connect(pg_dsn, autocommit=True)
        request.addfinalizer(own.close)
        own.execute("SELECT 2 AS here")
        other.stdout.readline()
        raise ValueError

    def test_nothing(pg_session):
        raise ValueError

    def test_torn_down(pg_session, request):
        def fail():
            pg_session.execute(text("SELECT * FROM torn_down"))
        request.addfinalizer(fail)
'''
APPLICATION = """
    from sqlalchemy import create_engine, event, select, text
    from models import User

    def add(session, email):
        session.add(User(email=email))
        session.flush()

    def find(session):
        return session.scalars(select(User)).all()

    def engine_of(url):
        engine = create_engine(url)
        @event.listens_for(engine, "connect")
        def on_connect(connection, record):
            connection.execute("SET application_name = 'application'")
        return engine

    def ask(engine, answer):
        with engine.begin() as connection:
            connection.execute(text("SELECT :answer AS answer"), {"answer": answer})
"""


def did(result: pytest.RunResult, name: str) -> list[str]:
    """Return the lines of what a test did."""
    shown = re.split(rf"\n_+ [^\n]*{re.escape(name)} _+\n", result.stdout.str())[1]
    shown = shown.partition("\n____")[0]
    section = re.split(r"\n-+ postgres: what the test did -+\n", shown)
    return re.split(r"\n[-=]{5,}", section[1])[0].splitlines() if len(section) > 1 else []


def matches(lines: list[str], *expected: str) -> None:
    """Compare a section with patterns, a line each."""
    assert len(lines) == len(expected), "\n".join(lines)
    pytest.LineMatcher(lines).fnmatch_lines(expected, consecutive=True)


def test_what_it_sent_is_told_with_lines_durations_and_what_failed(project: Project) -> None:
    project.models()
    project.write(test_it=TESTS, application=APPLICATION)
    result = project.run("--tb=short", BERTH_REPORT_LINES="20")
    result.assert_outcomes(failed=10, passed=1, errors=1)
    insert = "INSERT INTO users (email) VALUES (%(email)s::VARCHAR) RETURNING users.id"
    matches(
        did(result, "test_alchemy"),
        f"   setup * ms *1 row  application.py:6  {insert}  [[]email='seeded']",
        f"         * ms *1 row  application.py:6  {insert}  [[]email='new']",
        "         * ms  2 rows  application.py:9  SELECT users.id, users.email FROM users",
        "!        * ms          test_it.py:17     SELECT * FROM users WHERE token = %(token)s "
        ' [[]token=[*][*][*]]  -> UndefinedColumn: column "token" does not exist',
    )
    failing = did(result, "test_set_up")
    assert [line[0] for line in failing] == [" ", "!"]
    matches(
        did(result, "test_engine_in_a_thread"),
        "   * ms         application.py:15  SET application_name = 'application'",
        "   * ms  1 row  application.py:20  SELECT %(answer)s AS answer  [[]answer=41]",
        "   * ms  1 row  application.py:20  SELECT %(answer)s AS answer  [[]answer=42]",
    )
    matches(
        did(result, "test_drivers"),
        "   #1 * 1 row  test_it.py:35  SELECT %s, %s  [[]1, '*xxx'... (9999 long)]",
        "   #1 * 2 rows  test_it.py:36  INSERT INTO users (email) VALUES (%s)  [[]'a']",
        "   #1 * test_it.py:37  SELECT 'x' AS composed",
        "   #1 * test_it.py:39  SELECT 3 AS at_server",
        "   #1 * 1 row  test_it.py:41  COPY users (email) FROM STDIN",
        "   #1 * test_it.py:44  SELECT 4 AS in_pipeline",
        "      * test_it.py:45  SELECT 5 AS streamed",
        "   #2 * 1 row  test_it.py:48  SELECT %(answer)s AS of_two  [[]answer=6]",
        "   #3 * 1 row  test_it.py:52  SELECT 7 AS of_dict",
        "!  #3 * test_it.py:54  SELECT [*] FROM of_nothing  -> UndefinedTable: relation *",
    )
    for driver in ("psycopg", "asyncpg"):
        matches(
            did(result, f"test_async[{driver}]"),
            "* 1 row  test_it.py:60  SELECT 1 AS of_async_alchemy",
            "* 1 row  test_it.py:63  SELECT 2 AS of_async_three",
            "* test_it.py:64  COPY (SELECT 3) TO STDOUT",
            "* 1 row  test_it.py:67  SELECT 4 AS of_asyncpg, $1::int  [[]9]",
            "* 1 row  test_it.py:69  SELECT 5 AS prepared, $1::text  [[]'x']",
            "!* test_it.py:70  SELECT [*] FROM of_asyncpg  -> UndefinedTableError: relation *",
        )
    matches(did(result, "TestOfUnittest.test_it"), "* 0 rows  application.py:9  SELECT users.id, *")
    matches(did(result, "test_frozen"), "* 1 row  test_it.py:89  SELECT 1 AS while_frozen")
    matches(
        did(result, "test_other_processes"),
        "* 1 row  test_it.py:107  SELECT 2 AS here",
        "   another process 'worker' (pid *)  * ms  SELECT 1 AS elsewhere",
    )
    assert not did(result, "test_nothing")
    torn_down = did(result, "ERROR at teardown of test_torn_down")
    matches(torn_down, "!  teardown * test_it.py:116  SELECT [*] FROM torn_down  -> Undefined*")


SECRETS = """
    from sqlalchemy import text

    def test_bound(pg_session):
        pg_session.execute(text("SELECT * FROM nowhere WHERE token = :token"), {"token": "hunter2"})

    def test_logged(pg_connection):
        name = "hunter2"
        pg_connection.exec_driver_sql(
            "SELECT 'shown', password\\n  FROM nowhere WHERE password = '" + name + "'")
"""


def test_what_looks_like_a_secret_is_in_no_section_log_or_error_of_sqlalchemy(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini("berth_source = local")
    project.write(test_it=SECRETS)
    result = project.run("--tb=short")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*parameters: {'token': '[*][*][*]'}]",
            "*STATEMENT:  SELECT '[*][*][*]', password",
            "*FROM nowhere WHERE password = '[*][*][*]'",
        ]
    )
    text = result.stdout.str()
    # What is left is the test's source, and SQLAlchemy's telling of a statement without parameters.
    told = [line for line in text.splitlines() if "hunter2" in line]
    assert all('"hunter2"' in line or "FROM nowhere WHERE password" in line for line in told), told
