"""A test kills a process of the server: later tests, and other workers', find all as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project

SCHEMA = """
CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 2) AS n;
CREATE TABLE logged AS SELECT generate_series(1, 2) AS n;
"""
COMMON = """
    from pathlib import Path
    from pytest_berth import wait_for

    # What the other worker has open when the server crashes.
    KINDS = ["nothing", "none", "pg_connection", "pg_engine", "pg_databases", "replaced"]

    def tell(what): Path(what).touch()
    def hear(what): wait_for(Path(what).exists, 120)
"""
CRASHES = """
    import os
    import psycopg
    import pytest
    from common import KINDS, hear, tell, wait_for

    CHECKPOINTER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"

    def has_recovered(dsn, former):
        with psycopg.connect(dsn) as connection:
            return connection.execute(CHECKPOINTER).fetchone() not in (None, former)

    @pytest.mark.parametrize("kind", KINDS)
    def test_crash(pg_dsn, kind):
        hear(f"{kind}-is-open")
        with psycopg.connect(pg_dsn, autocommit=True) as connection:
            connection.execute("INSERT INTO logged VALUES (9)")
            former = connection.execute(CHECKPOINTER).fetchone()
            os.kill(connection.info.backend_pid, 9)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        # Others' sessions end only when the postmaster has noticed.
        wait_for(lambda: has_recovered(pg_dsn, former), 120, ignore=psycopg.OperationalError)
        tell(f"{kind}-crashed")
        hear(f"{kind}-was-looked-at")
"""
# Each kind's tests come one after the other, before the next kind's.
LOOKS = """
    import psycopg
    import pytest
    from common import KINDS, hear, tell

    LOOK = "SELECT (SELECT count(*) FROM unlogged), (SELECT count(*) FROM logged)"

    def look(request, kind):
        if kind in ("nothing", "replaced", "none"):
            with psycopg.connect(request.getfixturevalue("pg_dsn"), autocommit=True) as own:
                assert own.execute(LOOK).fetchone() == (2, 2)
                if kind == "replaced":
                    own.execute("DROP TABLE logged")
        else:
            found = request.getfixturevalue(kind)
            if kind == "pg_databases":
                found = found["other"].engine
            if kind == "pg_connection":
                assert found.exec_driver_sql(LOOK).one() == (2, 2)
                return
            with found.connect() as connection:
                assert connection.exec_driver_sql(LOOK).one() == (2, 2)

    def made_for(kind):
        fixture = kind if kind.startswith("pg_") else "pg_dsn"
        isolations = {"replaced": "database", "none": "none", "nothing": "none"}
        marks = [pytest.mark.usefixtures(fixture)]
        if kind in isolations:
            marks.append(pytest.mark.berth_pg(isolation=isolations[kind]))

        def opens(request):
            if kind != "nothing":
                look(request, kind)

        def unit():
            tell(f"{kind}-is-open")
            hear(f"{kind}-crashed")

        def looks(request):
            look(request, "pg_engine" if kind == "none" else kind)

        def tells(): tell(f"{kind}-was-looked-at")

        if kind != "nothing":
            for mark in marks:
                opens = mark(opens)
        looks = pytest.mark.usefixtures(fixture)(looks)
        if kind in ("nothing", "replaced"):
            looks = marks[1](looks)
        return {"opens": opens, "unit": unit, "looks": looks, "tells": tells}

    globals().update(
        (f"test_{kind}_{name}", test) for kind in KINDS for name, test in made_for(kind).items()
    )
"""


def test_after_a_crash_by_one_worker_the_other_finds_unlogged_tables_as_seeded(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.plugins = ("xdist",)
    project.ini(
        "berth_source = local",
        "berth_pg_schema = schema.sql",
        "berth_pg_databases = other = schema.sql",
    )
    (project.root / "schema.sql").write_text(SCHEMA)
    project.write(common=COMMON, test_crashes=CRASHES, test_looks=LOOKS)
    result = project.run("-n", "2", "--dist", "loadfile", "-v")
    result.assert_outcomes(passed=6 * 5)


# Before two of the tests another session crashes the server. Berth's own are stopped, so that they
# seem to live until the postmaster kills them, five seconds later.
STOPS = """
    import os
    import signal
    import psycopg
    import pytest

    OTHERS = "SELECT pid FROM pg_stat_activity WHERE client_port > 0 AND pid <> pg_backend_pid()"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(nodeid):
        if "first" in nodeid:
            return
        with psycopg.connect(os.environ["DSN"], autocommit=True) as connection:
            for (pid,) in connection.execute(OTHERS).fetchall():
                os.kill(pid, signal.SIGSTOP)
            os.kill(connection.info.backend_pid, signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
"""
BETWEEN = """
    import os

    LOOK = "SELECT (SELECT count(*) FROM unlogged), (SELECT count(*) FROM logged)"

    def look(engine):
        with engine.connect() as connection:
            assert connection.exec_driver_sql(LOOK).one() == (2, 2)

    def test_first_committed(pg_engine, pg_dsn):
        os.environ["DSN"] = pg_dsn
        look(pg_engine)

    def test_committed(pg_engine): look(pg_engine)

    def test_first_rolled_back(pg_connection):
        assert pg_connection.exec_driver_sql(LOOK).one() == (2, 2)

    def test_rolled_back(pg_connection):
        assert pg_connection.exec_driver_sql(LOOK).one() == (2, 2)
"""


def test_a_crash_that_is_seen_only_while_a_test_is_prepared_is_recovered_from(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini("berth_source = local", "berth_pg_schema = schema.sql")
    (project.root / "schema.sql").write_text(SCHEMA)
    project.write(conftest=STOPS, test_between=BETWEEN)
    result = project.run("-v")
    result.assert_outcomes(passed=4)
    seen = "berth: postgres: between two tests, the server crashed and recovered, *"
    result.stdout.fnmatch_lines([seen, seen])


CRASHING = """
    import os, signal, threading
    import psycopg
    import pytest
    from pytest_berth import wait_for
    from pytest_berth.run.plugin_state import PLUGIN_STATE
    from pytest_berth.services.postgres.service import POSTGRES

    @pytest.fixture
    def server(pytestconfig):
        # Who asks for `pg_server` has the worker's database opened.
        return pytestconfig.stash[PLUGIN_STATE].server(POSTGRES)

    def connect(server):
        account = server.credentials
        return psycopg.connect(
            host=server.host, port=server.port, dbname="postgres",
            user=account.user, password=account.password, autocommit=True,
        )

    def refuses(server):
        try:
            connect(server).close()
        except psycopg.OperationalError:
            return True
        return False

    def crash(server):
        # One that stands still keeps the server in recovery, until it is killed after five seconds.
        killed, standing = connect(server), connect(server)
        os.kill(standing.info.backend_pid, signal.SIGSTOP)
        os.kill(killed.info.backend_pid, signal.SIGKILL)
        wait_for(lambda: refuses(server), 60)
        killed.close()
        standing.close()

    def databases(server):
        with connect(server) as connection:
            return [name for name, in connection.execute("SELECT datname FROM pg_database")]

    def look(pg_dsn):
        with psycopg.connect(pg_dsn, autocommit=True) as connection:
            query = "SELECT (SELECT count(*) FROM unlogged), (SELECT count(*) FROM logged)"
            assert connection.execute(query).fetchone() == (2, 2)
"""


@pytest.fixture
def crashing(project: Project, require_source: Callable[[str], None]) -> Project:
    """A project whose tests can crash a server on which they have nothing open."""
    require_source("local")
    (project.root / "schema.sql").write_text(SCHEMA)
    project.write(crashing=CRASHING)
    project.conftest("from crashing import server")
    return project


def test_a_worker_that_opens_its_database_while_the_server_recovers_waits(
    crashing: Project,
) -> None:
    crashing.ini(
        "berth_source = local", "berth_pg_schema = schema.sql", "berth_start_ahead = false"
    )
    crashing.write(
        test_it="""
        from crashing import crash, look

        def test_crash(server): crash(server)
        def test_first(pg_dsn): look(pg_dsn)
        def test_second(pg_dsn): look(pg_dsn)
        """
    )
    crashing.run("-p", "no:randomly").assert_outcomes(passed=3)


def test_no_clone_that_was_made_before_a_crash_is_given_to_a_test_after_it(
    crashing: Project,
) -> None:
    crashing.ini("berth_source = local", "berth_pg_schema = schema.sql")
    crashing.write(
        test_it="""
        import psycopg, pytest
        from crashing import crash, databases, look, wait_for

        @pytest.mark.berth_pg(isolation="database")
        def test_a_private_one_has_to_be_replaced(pg_dsn):
            with psycopg.connect(pg_dsn, autocommit=True) as connection:
                (replaced,) = connection.execute("SELECT current_database()").fetchone()
                connection.execute("DROP TABLE logged")
            open("replaced", "w").write(replaced)

        def test_it_is_replaced(server):
            # It is dropped after the clone that takes its place is made.
            wait_for(lambda: open("replaced").read() not in databases(server), 120)
            crash(server)

        @pytest.mark.berth_pg(isolation="database")
        def test_a_private_one(pg_dsn): look(pg_dsn)
        """
    )
    crashing.run("-p", "no:randomly").assert_outcomes(passed=3)
