"""Fixtures for asyncio: under pytest-asyncio and anyio, with psycopg and with asyncpg."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from marks import nightly

if TYPE_CHECKING:
    from conftest import Project

HEAD = """
import asyncio
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError
from models import User

def by(email):
    return User(email=email)

"""
CHECKED = """
async def rows(pg_async_session):
    return (await pg_async_session.scalars(select(User.email).order_by(User.id))).all()
"""


@dataclass(frozen=True)
class Runner:
    """A plugin that runs async tests, and how it is set up."""

    plugin: str
    ini: tuple[str, ...]
    mark: str = ""


RUNNERS = {
    "auto": Runner("asyncio", ("asyncio_mode = auto",)),
    "strict": Runner("asyncio", ("asyncio_mode = strict",), "pytest.mark.asyncio"),
    "session": Runner(
        "asyncio",
        ("asyncio_mode = auto", "asyncio_default_test_loop_scope = session"),
    ),
    "module": Runner(
        "asyncio", ("asyncio_mode = strict",), "pytest.mark.asyncio(loop_scope='module')"
    ),
    "anyio": Runner("anyio", (), "pytest.mark.anyio"),
}


@pytest.fixture(params=["psycopg", "asyncpg"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver."""
    return str(request.param)


def run(
    project: Project, runner: Runner, tests: str, *ini: str, arguments: tuple[str, ...] = ()
) -> pytest.RunResult:
    """Run a module of async tests."""
    project.plugins = (*project.plugins, runner.plugin)
    scope = "asyncio_default_fixture_loop_scope = function"
    own = (*runner.ini, scope) if runner.plugin == "asyncio" else ()
    strict = () if any("filterwarnings" in line for line in ini) else ("filterwarnings = error",)
    project.models(*own, *strict, *ini)
    mark = f"pytestmark = {runner.mark}\n" if runner.mark else ""
    backend = "@pytest.fixture(scope='session')\ndef anyio_backend(): return 'asyncio'\n"
    body = HEAD + mark + (backend if runner.plugin == "anyio" else "") + dedent(tests)
    (project.root / "test_it.py").write_text(body)
    return project.run(*arguments)


BASICS = """
    async def test_session(pg_async_session):
        pg_async_session.add(by("a@example.com"))
        await pg_async_session.commit()
        pg_async_session.add(by("a@example.com"))
        with pytest.raises(IntegrityError):
            await pg_async_session.commit()
        await pg_async_session.rollback()
        assert (await pg_async_session.scalars(select(User.email))).all() == ["a@example.com"]

    async def test_connection(pg_async_connection):
        assert (await pg_async_connection.execute(select(User.email))).all() == []
        await pg_async_connection.execute(insert(User).values(email="b@example.com"))
        await pg_async_connection.commit()
        await pg_async_connection.execute(insert(User).values(email="c@example.com"))
        await pg_async_connection.rollback()
        found = await pg_async_connection.scalars(select(User.email))
        assert found.all() == ["b@example.com"]

    async def test_engine(pg_async_engine, pg_engine):
        async with pg_async_engine.begin() as connection:
            await connection.execute(insert(User).values(email="d@example.com"))
        with pg_engine.connect() as other:
            assert other.scalars(select(User.email)).all() == ["d@example.com"]

    async def test_left_in_a_transaction(pg_async_session):
        assert (await pg_async_session.scalars(select(User.id))).all() == []
        pg_async_session.add(by("e@example.com"))
        await pg_async_session.flush()

    async def test_unused(pg_async_session, pg_async_connection, pg_async_engine):
        pass

    async def test_first_id_is_one_again(pg_async_session):
        user = by("f@example.com")
        pg_async_session.add(user)
        await pg_async_session.commit()
        assert user.id == 1
"""


@pytest.mark.parametrize(
    ("runner", "driver"),
    [
        ("auto", "asyncpg"),
        ("strict", "psycopg"),
        ("session", "asyncpg"),
        ("module", "psycopg"),
        ("anyio", "asyncpg"),
        *nightly(
            ("auto", "psycopg"),
            ("strict", "asyncpg"),
            ("session", "psycopg"),
            ("module", "asyncpg"),
            ("anyio", "psycopg"),
        ),
    ],
)
def test_every_runner_gives_each_test_a_clean_slate(
    served: Project, runner: str, driver: str
) -> None:
    result = run(served, RUNNERS[runner], BASICS, f"berth_pg_async_driver = {driver}")
    result.assert_outcomes(passed=6)


def test_a_test_that_commits_through_them_is_put_back(served: Project, driver: str) -> None:
    tests = "    pytestmark = pytest.mark.berth_pg(isolation='truncation')\n" + BASICS
    result = run(served, RUNNERS["auto"], tests, f"berth_pg_async_driver = {driver}")
    result.assert_outcomes(passed=6)


def test_sync_and_async_fixtures_of_a_test_share_its_transaction(served: Project) -> None:
    result = run(
        served,
        RUNNERS["auto"],
        """
        @pytest.fixture
        def pending(pg_session):
            pg_session.add(by("pending@example.com"))
            pg_session.flush()

        async def test_it(pending, pg_async_session, pg_session):
            assert (await pg_async_session.scalars(select(User.email))).all() == [
                "pending@example.com"
            ]
            pg_session.commit()
            pg_async_session.add(by("pending@example.com"))
            with pytest.raises(IntegrityError):
                await pg_async_session.flush()
            await pg_async_session.rollback()
            pg_async_session.add(by("async@example.com"))
            await pg_async_session.commit()
            assert len(pg_session.scalars(select(User)).all()) == 2
            for _ in range(12):  # psycopg prepares what is sent often
                assert len((await pg_async_session.scalars(select(User))).all()) == 2
                assert len(pg_session.scalars(select(User)).all()) == 2

        async def test_next(pg_async_session, pg_session):
            assert (await pg_async_session.scalars(select(User))).all() == []
            assert pg_session.scalars(select(User)).all() == []
        """,
        arguments=("-vv",),
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*rollback: pg_session and pg_connection and their async counterparts are the only*"]
    )


def test_sync_code_that_cuts_in_on_async_code_is_told_and_does_not_hang(served: Project) -> None:
    result = run(
        served,
        RUNNERS["auto"],
        """
        async def test_it(pg_async_session, pg_session):
            slow = asyncio.ensure_future(pg_async_session.execute(text("SELECT pg_sleep(0.3)")))
            while not pg_session.connection().connection.driver_connection.lock._owner:
                await asyncio.sleep(0)
            try:
                pg_session.execute(text("SELECT 1"))
            finally:
                await slow

        async def test_next(pg_async_session, pg_session):
            assert (await pg_async_session.scalars(select(User))).all() == []
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*sync code used the test's connection while async code waited for its answer.*"]
    )


@pytest.mark.parametrize("driver", ["psycopg", *nightly("asyncpg")])
def test_a_task_that_outlives_its_test_harms_no_other(served: Project, driver: str) -> None:
    result = run(
        served,
        RUNNERS["session"],
        """
        import os
        import psycopg

        tasks = []
        conn = psycopg.connect(os.environ["BERTH_PG_URL"].replace("+psycopg", ""), autocommit=True)

        def sleeps(name):
            query = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = %s"
            return conn.execute(query, [name]).fetchone() is not None

        async def test_leaves_a_query(pg_async_session):
            name = await pg_async_session.scalar(text("SELECT current_database()"))
            tasks.append(asyncio.ensure_future(
                pg_async_session.execute(text("SELECT pg_sleep(8)"))
            ))
            while not sleeps(name):
                await asyncio.sleep(0.01)

        async def test_next(pg_async_session):
            with pytest.raises(Exception):
                await tasks.pop()
            pg_async_session.add(by("a@example.com"))
            await pg_async_session.commit()
            assert (await pg_async_session.scalars(select(User.id))).all() == [1]
        """,
        f"berth_pg_async_driver = {driver}",
        "filterwarnings = default",
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("driver", ["asyncpg", *nightly("psycopg")])
def test_fixtures_of_a_wider_scope_can_write_by_the_engine(served: Project, driver: str) -> None:
    result = run(
        served,
        RUNNERS["auto"],
        """
        import pytest_asyncio

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def admin(pg_async_engine):
            async with pg_async_engine.begin() as connection:
                await connection.execute(insert(User).values(email="admin@example.com"))

        @pytest.mark.parametrize("n", range(2))
        async def test_it(admin, pg_async_session, n):
            pg_async_session.add(by("a@example.com"))
            await pg_async_session.commit()
            assert len((await pg_async_session.scalars(select(User))).all()) == 2
        """,
        f"berth_pg_async_driver = {driver}",
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("driver", ["psycopg", *nightly("asyncpg")])
def test_they_can_be_asked_for_while_an_event_loop_runs(served: Project, driver: str) -> None:
    result = run(
        served,
        RUNNERS["auto"],
        """
        @pytest.mark.parametrize("n", range(2))
        async def test_it(request, n):
            session = request.getfixturevalue("pg_async_session")
            session.add(by("a@example.com"))
            await session.commit()
            assert (await session.scalars(select(User.email))).all() == ["a@example.com"]
        """,
        f"berth_pg_async_driver = {driver}",
    )
    result.assert_outcomes(passed=2)


def test_sql_that_ends_the_transaction_is_noticed(served: Project) -> None:
    result = run(
        served,
        RUNNERS["auto"],
        """
        async def test_offender(pg_async_connection):
            await pg_async_connection.execute(insert(User).values(email="leak@example.com"))
            await pg_async_connection.exec_driver_sql("COMMIT")

        async def test_next(pg_async_session):
            assert (await pg_async_session.scalars(select(User))).all() == []

        async def test_autocommit(pg_async_connection):
            await pg_async_connection.execution_options(isolation_level="AUTOCOMMIT")
        """,
    )
    result.assert_outcomes(passed=2, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*the test ended the transaction that it was to be rolled back with.",
            "*a rolled-back test cannot have autocommit.*",
        ]
    )


def test_asyncpg_cannot_roll_back_and_says_so(served: Project) -> None:
    tests = """
        @pytest.mark.berth_pg(isolation="rollback")
        async def test_it(pg_async_session): pass
    """
    result = run(served, RUNNERS["auto"], tests, "berth_pg_async_driver = asyncpg")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*isolation 'rollback' cannot be had with asyncpg.",
            "  why: rollback: asked for by the marker; berth_pg_async_driver = asyncpg*",
            "  do:  berth_pg_async_driver = psycopg",
        ]
    )


def test_asyncpg_is_named_as_the_way_in(served: Project) -> None:
    tests = "    async def test_it(pg_async_session): pass\n"
    result = run(
        served, RUNNERS["auto"], tests, "berth_pg_async_driver = asyncpg", arguments=("-vv",)
    )
    result.stdout.fnmatch_lines(
        ["*PASSED (postgres truncation: pg_async_session works through asyncpg)*"]
    )


APP = """
from fastapi import Depends, FastAPI
from sqlalchemy import func, select
from models import User

app = FastAPI()

async def session():
    raise NotImplementedError

@app.post("/users/{email}", status_code=201)
async def register(email: str, session=Depends(session)):
    session.add(User(email=email))
    await session.commit()

@app.get("/users")
async def count(session=Depends(session)):
    return await session.scalar(select(func.count()).select_from(User))
"""
CLIENTS = """
    import httpx
    from fastapi.testclient import TestClient
    from app import app, session

    @pytest.fixture
    def overridden(pg_async_session):
        app.dependency_overrides[session] = lambda: pg_async_session
        yield
        app.dependency_overrides.clear()

    @pytest.mark.parametrize("n", range(2))
    async def test_transport(overridden, pg_async_session, n):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.post("/users/a@example.com")).status_code == 201
            assert (await client.get("/users")).json() == 1
        assert (await pg_async_session.scalars(select(User.id))).all() == [1]

    @pytest.mark.parametrize("n", range(2))
    def test_client_in_a_context(overridden, n):
        with TestClient(app) as client:
            assert client.post("/users/a@example.com").status_code == 201
            assert client.get("/users").json() == 1

    @pytest.mark.parametrize("n", range(2))
    def test_client_with_a_loop_for_each_request(overridden, pg_session, n):
        client = TestClient(app)
        assert client.post("/users/a@example.com").status_code == 201
        assert client.get("/users").json() == 1
        assert pg_session.scalars(select(User.id)).all() == [1]
"""


def test_fastapi_works_on_the_tests_session(served: Project) -> None:
    served.write(app=APP)
    result = run(served, RUNNERS["auto"], CLIENTS, "filterwarnings = default")
    result.assert_outcomes(passed=6)


ENGINE_OF_ITS_OWN = """
import os
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)

async def session():
    async with AsyncSession(engine) as found:
        yield found
"""
UNCHANGED = """
    import httpx
    from fastapi.testclient import TestClient
    from app import app

    @pytest.mark.parametrize("n", range(2))
    async def test_transport(pg_async_session, n):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.post("/users/a@example.com")).status_code == 201
        assert (await pg_async_session.scalars(select(User.id))).all() == [1]

    @pytest.mark.parametrize("n", range(2))
    def test_client(pg_session, n):
        with TestClient(app) as client:
            assert client.post("/users/a@example.com").status_code == 201
        assert pg_session.scalars(select(User.id)).all() == [1]
"""


@pytest.mark.parametrize("driver", ["asyncpg", *nightly("psycopg")])
def test_fastapi_works_on_an_async_engine_of_its_own(served: Project, driver: str) -> None:
    own = APP.replace(APP[APP.index("async def session") : APP.index("@app.post")], "")
    served.write(app=ENGINE_OF_ITS_OWN + own)
    result = run(
        served,
        RUNNERS["auto"],
        UNCHANGED,
        f"berth_pg_async_driver = {driver}",
        f"berth_export = DATABASE_URL = {{pg_url:{driver}}}",
        "filterwarnings = default",
    )
    result.assert_outcomes(passed=4)


def test_a_pool_that_is_used_from_several_loops_is_told_what_to_set(served: Project) -> None:
    result = run(
        served,
        RUNNERS["auto"],
        """
        import os
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(os.environ["DATABASE_URL"])

        @pytest.mark.parametrize("n", range(2))
        async def test_it(pg_url, n):
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))

        async def test_other(pg_url):
            raise RuntimeError("Event loop is closed")
        """,
        "berth_export = DATABASE_URL = {pg_url:asyncpg}",
        "filterwarnings = default",
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*- event loops -*", "*do:  create_async_engine(*NullPool*"])
    assert result.stdout.str().count("- event loops -") == 1


@pytest.mark.parametrize("driver", ["psycopg", *nightly("asyncpg")])
def test_a_private_database_is_the_async_fixtures_too(served: Project, driver: str) -> None:
    result = run(
        served,
        RUNNERS["auto"],
        """
        @pytest.mark.parametrize("n", range(2))
        @pytest.mark.berth_pg(isolation="database")
        async def test_it(pg_async_session, pg_async_connection, pg_async_engine, pg_session, n):
            pg_async_session.add(by("a@example.com"))
            await pg_async_session.commit()
            assert pg_session.scalars(select(User.id)).all() == [1]
            assert (await pg_async_connection.scalars(select(User.id))).all() == [1]
            async with pg_async_engine.connect() as connection:
                assert (await connection.scalars(select(User.id))).all() == [1]
                name = await connection.scalar(text("SELECT current_database()"))
            assert name == pg_session.scalar(text("SELECT current_database()"))
            assert not name.endswith("_main")

        async def test_shared(pg_async_engine):
            async with pg_async_engine.connect() as connection:
                assert (await connection.scalars(select(User.id))).all() == []
                name = await connection.scalar(text("SELECT current_database()"))
            assert name.endswith("_main")
        """,
        f"berth_pg_async_driver = {driver}",
    )
    result.assert_outcomes(passed=3)
