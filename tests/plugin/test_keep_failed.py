"""``--berth-keep-failed``: what a failing test has done stays, and no later test sees it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from pytest_berth import wait_for
from pytest_berth.run.reuse import kept_states
from pytest_berth.run.reuse.records import Record, Records
from pytest_berth.services.kafka import urls as kafka_urls
from pytest_berth.services.kafka.brokers import Brokers
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.services.kafka.topic_reader import Reader
from pytest_berth.services.postgres import urls
from pytest_berth.services.redis import clients
from temporary import open_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Project
    from pytest_berth.api import Service
    from pytest_berth.run.reuse.kept_states import KeptState

TESTS = """
    import pytest
    from sqlalchemy import text
    from models import User

    def emails(session):
        return set(session.scalars(text("SELECT email FROM users")))

    @pytest.fixture(scope="module")
    def of_module(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users (email) VALUES ('module')"))

    @pytest.fixture
    def broken(pg_session):
        pg_session.add(User(email="of a fixture"))
        pg_session.flush()
        raise RuntimeError

    @pytest.fixture
    def breaks(pg_session):
        yield
        raise RuntimeError

    class TestRolledBack:
        def test_uncommitted(self, pg_session):
            pg_session.add(User(email="committed"))
            pg_session.commit()
            pg_session.add(User(email="flushed"))
            pg_session.flush()
            pg_session.execute(text("CREATE TABLE noted (at text, n int PRIMARY KEY)"))
            pg_session.execute(text("INSERT INTO noted VALUES ('here', 1)"))
            assert False

        def test_aborted(self, pg_session):
            assert not emails(pg_session)
            pg_session.add(User(email="before"))
            pg_session.commit()
            pg_session.add(User(email="lost"))
            pg_session.flush()
            pg_session.execute(text("SELECT * FROM nowhere"))

        def test_set_up(self, pg_session, broken): pass

        def test_torn_down(self, pg_session, breaks):
            assert not emails(pg_session)
            pg_session.add(User(email="of a teardown"))
            pg_session.commit()

        @pytest.mark.xfail(strict=True)
        def test_expected(self, pg_session): assert False

        def test_clean(self, pg_session):
            assert not emails(pg_session)

    class TestCommitted:
        def test_fails(self, of_module, pg_engine, pg_session):
            pg_session.add(User(email="real"))
            pg_session.commit()
            assert False

        def test_clean(self, of_module, pg_engine, pg_session):
            assert emails(pg_session) == {"module"}

    @pytest.mark.berth_pg(isolation="rollback")
    def test_named(pg_databases):
        session = pg_databases["billing"].session
        session.add(User(email="of billing"))
        session.flush()
        assert False

    @pytest.mark.berth_pg(isolation="database")
    class TestPrivate:
        def test_fails(self, pg_session):
            pg_session.add(User(email="private"))
            pg_session.commit()
            pg_session.execute(text("CREATE VIEW all_of_them AS SELECT * FROM users"))
            pg_session.commit()
            assert False

        def test_clean(self, pg_session):
            assert not emails(pg_session)
"""


@pytest.fixture
def temporary(
    project: Project, require_source: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A directory for all that runs leave; what they keep ends with the test."""
    require_source("local")
    project.write(test_it=TESTS)
    project.models("berth_source = local")
    with open_home() as place:
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setattr("tempfile.tempdir", str(place))
        yield place
        if records(place):
            project.run("--berth-stop")
        wait_for(lambda: not processes(place), 30)


def processes(directory: Path) -> list[psutil.Process]:
    """Return the processes whose command line names a directory: servers, helpers."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in word for word in process.info["cmdline"] or ())
    ]


def records(temporary: Path) -> list[Record]:
    """Return the records of the servers that stay."""
    return [each for path in temporary.glob("berth-kept-*") for each in Records(path).all()]


def kept(test: str) -> KeptState:
    """Return what stays of the one test whose id ends so."""
    (found,) = (each for each in kept_states.all_of_user() if each.nodeid.endswith(test))
    return found


def held(test: str, query: str = "SELECT email FROM users ORDER BY email") -> list[str]:
    """Return what a query finds in what stays of a test; an external server's password is set."""
    with psycopg.connect(urls.dsn(kept(test).reached, kept(test).name)) as connection:
        return [value for (value,) in connection.execute(query.encode()).fetchall()]


def command(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``pytest-berth``."""
    program = [sys.executable, "-m", "pytest_berth.cli", *arguments]
    return subprocess.run(program, input=typed, capture_output=True, text=True, check=False)


def test_what_failed_stays_and_no_later_test_sees_it(
    served: Project, outer_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.write(test_it=TESTS)
    served.models("berth_pg_databases = billing = models:Base.metadata")
    with open_home() as place:
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setattr("tempfile.tempdir", str(place))
        monkeypatch.setenv("PGPASSWORD", urlsplit(outer_url).password or "")
        look_at_what_failed(served.run("--berth-keep-failed"))
        command("prune")
        assert not kept_states.all_of_user()


def look_at_what_failed(result: pytest.RunResult) -> None:
    """Look at the databases, and at the summary."""
    result.assert_outcomes(passed=4, failed=5, errors=2, xfailed=1)
    named = [each for each in kept_states.all_of_user() if each.nodeid.endswith("test_named")]
    assert [each.name.endswith("_billing") for each in named] == [False, True]
    with psycopg.connect(urls.dsn(named[1].server, named[1].name)) as connection:
        assert connection.execute("SELECT email FROM users").fetchall() == [("of billing",)]
    assert held("test_uncommitted") == ["committed", "flushed"]
    assert held("test_uncommitted", "SELECT at FROM noted") == ["here"]
    assert held("test_aborted") == ["before"]
    assert held("test_set_up") == ["of a fixture"]
    assert held("test_torn_down") == ["of a teardown"]
    assert held("TestCommitted::test_fails") == ["module", "real"]
    assert held("TestPrivate::test_fails", "SELECT email FROM all_of_them") == ["private"]
    assert len(kept_states.all_of_user()) == 8
    state = kept("test_aborted")
    result.stdout.fnmatch_lines(
        [
            "*= kept of failed tests =*",
            "test_it.py::TestRolledBack::test_uncommitted (until *)",
            "  postgres: psql -h 127.0.0.1 -p * -U * berth_kept_*",
            "    without constraints and indexes, as the test made or altered them: public.noted",
            "test_it.py::TestRolledBack::test_aborted (until *)",
            f"  postgres: psql * {state.name}",
            "    an error had aborted its transaction: *",
            "with the password: pytest-berth shell --failed *::test_uncommitted",
        ]
    )
    assert os.environ["PGPASSWORD"] not in result.stdout.str()


def test_without_a_failure_nothing_stays(project: Project, temporary: Path) -> None:
    project.ini("berth_source = local")
    project.write(test_it="def test_it(redis_client): redis_client.set('a', 1)")
    result = project.run("--berth-keep-failed")

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*kept*")
    assert not records(temporary)
    wait_for(lambda: not processes(temporary), 30)


def test_later_runs_neither_see_nor_remove_what_stays_and_the_command_does(
    project: Project, temporary: Path
) -> None:
    project.plugins = ("xdist",)
    chosen = "-k", "test_uncommitted or TestCommitted"
    first = project.run("--berth-keep-failed", "-n2", *chosen, "--berth-json=run.json", "-v")
    first.assert_outcomes(passed=1, failed=2)
    first.stdout.fnmatch_lines(["*= kept of failed tests =*", "*test_uncommitted (until *"])
    first.stdout.fnmatch_lines(
        [
            "stays * postgres: the server, for what is kept of failed tests"
            " (--berth-keep-failed, until 2*); pytest --berth-stop ends it"
        ]
    )
    told = json.loads((project.root / "run.json").read_text("utf-8"))["kept"]
    assert told
    assert set(told) <= set(first.outlines)
    (record,) = records(temporary)
    state = kept("test_uncommitted")
    with psycopg.connect(urls.dsn(state.reached, state.name)) as looking:
        second = project.run("--berth-keep=1s", "-k", "test_clean or (TestCommitted and fails)")
        looking.execute("SELECT 1")

    second.assert_outcomes(passed=3, failed=1)
    second.stdout.fnmatch_lines(["*kept by an earlier run*"])
    second.stdout.no_fnmatch_line("*kept of failed tests*")
    assert [each.server.handle["pid"] for each in records(temporary)] == [
        record.server.handle["pid"]
    ]
    assert held("test_uncommitted") == ["committed", "flushed"]
    assert held("TestCommitted::test_fails") == ["module", "real"]

    printed = command("shell", "--failed", "uncommitted", "--print")
    assert printed.stdout.splitlines() == [
        f"psql -h 127.0.0.1 -p {state.server.port} -U {state.server.credentials.user} {state.name}",
        "# needs in its environment: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD",
    ]
    refused = command("shell", "--failed", "test_")
    assert refused.returncode == 1
    assert "'test_' means several." in refused.stderr
    assert "test_it.py::TestCommitted::test_fails  postgres berth_kept_" in refused.stderr
    unnamed = command("shell", "--failed", "--", "pg_dump")
    assert unnamed.returncode == 1
    assert "--failed without a test means several." in unnamed.stderr
    assert "pytest-berth shell --failed NODEID" in unnamed.stderr
    nowhere = command("shell", "--failed", "nowhere").stderr
    assert "nothing is kept of a failed test 'nowhere'." in nowhere
    redis = command("shell", "--failed", "uncommitted", "--service", "redis").stderr
    assert "of a failed test 'uncommitted', redis is not kept: postgres only." in redis
    absent = command("shell", "--failed", "uncommitted", "--", "no-such-command").stderr
    assert "the given command 'no-such-command' was not found." in absent
    assert "PostgreSQL" not in absent
    shell = command("shell", "--failed", "TestCommitted", typed="TABLE users;")
    assert "real" in shell.stdout
    code = "import psycopg; print(psycopg.connect().execute('TABLE users').fetchall())"
    python = command("shell", "--failed", "TestCommitted", "--", sys.executable, "-c", code)
    assert "'real'" in python.stdout
    assert state.reached.credentials.password not in f"{printed}{shell}{python}"

    unknown = command("prune", "--dry-run", "nosuch")
    assert "no run and no kept server 'nosuch' is known" in unknown.stderr
    assert not unknown.stdout
    would = command("prune", "--dry-run").stdout
    assert "test_uncommitted" in would
    assert f"{record.name}  kept     postgres" in would
    assert len(kept_states.all_of_user()) == 2
    command("prune")
    assert not kept_states.all_of_user()
    assert not records(temporary)
    wait_for(lambda: not processes(temporary), 30)


def test_a_killed_run_leaves_what_stays_and_nothing_else(project: Project, temporary: Path) -> None:
    project.write(
        test_it="""
            import threading
            from pathlib import Path
            from models import User

            def test_fails(pg_session):
                pg_session.add(User(email="of a killed run"))
                pg_session.flush()
                assert False

            def test_waits(pg_session):
                Path("waits").touch()
                threading.Event().wait(100)
        """
    )
    arguments = [sys.executable, "-m", "pytest", *project.arguments("--berth-keep-failed")]
    run = subprocess.Popen(arguments, cwd=project.root, stdout=subprocess.DEVNULL)
    try:
        wait_for((project.root / "waits").exists, 60)
    finally:
        run.kill()
        run.wait()
    wait_for(lambda: not any(temporary.glob("berth-*/owner.json")), 60)

    assert held("test_fails") == ["of a killed run"]
    assert len(records(temporary)) == 1
    stopped = project.run("--berth-stop")
    stopped.stdout.fnmatch_lines(["berth: postgres *: ended, with what was kept of 1 failed test"])
    assert not kept_states.all_of_user()


EXTERNAL = """
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
    from sqlalchemy import ForeignKey

    class Base(DeclarativeBase): pass

    class Line(Base):
        __tablename__ = "a_line"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int] = mapped_column(ForeignKey("b_order.id"))

    class Order(Base):
        __tablename__ = "b_order"
        id: Mapped[int] = mapped_column(primary_key=True)

    def test_first(pg_session):
        pg_session.add(Order(id=7))
        pg_session.flush()
        pg_session.add(Line(order_id=7))
        pg_session.flush()
        assert False

    def test_second(pg_session):
        assert False
"""


@pytest.fixture
def role(outer_url: str) -> Iterator[str]:
    """The libpq URI of a role that may create databases, and nothing else."""
    administrator = outer_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("CREATE ROLE keeps_failed LOGIN CREATEDB PASSWORD 'of-the-role'")
        yield f"postgresql://keeps_failed:of-the-role@{administrator.rpartition('@')[2]}"
        for (name,) in connection.execute(
            "SELECT datname FROM pg_database WHERE datdba = 'keeps_failed'::regrole"
        ).fetchall():
            connection.execute(f"ALTER DATABASE {name} IS_TEMPLATE false".encode())
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute("DROP ROLE keeps_failed")


def test_on_an_external_server_databases_stay_until_a_run_after_their_time(
    project: Project, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_home() as place:
        monkeypatch.setenv("BERTH_PG_URL", role)
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setattr("tempfile.tempdir", str(place))
        project.ini("berth_pg_schema = test_it:Base.metadata")
        project.write(test_it=EXTERNAL)
        project.conftest("from pytest_berth.run.reuse import kept_states; kept_states.MOST = 1")
        result = project.run("--berth-keep-failed", "--berth-keep=10m")

        result.assert_outcomes(failed=2)
        result.stdout.fnmatch_lines(
            [
                "    without its foreign keys, as the role is no superuser",
                "with the password: *",
                "of 1 more nothing is kept: 1 are the most in a run",
            ]
        )
        first = kept("test_first")
        assert "of-the-role" not in result.stdout.str()
        assert not any(
            "of-the-role" in path.read_text() for path in place.glob("berth-kept*/*.kept")
        )

        def looks(name: str) -> psycopg.Connection:
            return psycopg.connect(f"{role.rpartition('/')[0]}/{name}", autocommit=True)

        with looks(first.name) as connection:
            assert connection.execute("SELECT order_id FROM a_line").fetchall() == [(7,)]
            comment = "pytest-berth: kept until 2020-01-01T00:00:00+00:00 for test_first"
            connection.execute(f"COMMENT ON DATABASE {first.name} IS '{comment}'".encode())
            monkeypatch.setenv("PGPASSWORD", "of-the-role")
            stays = command("prune")
            assert f"{first.name} could not be removed: refused to drop" in stays.stderr
        assert [each.name for each in kept_states.all_of_user()] == [first.name]
        project.run("-k", "test_second").assert_outcomes(failed=1, deselected=1)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            looks(first.name)


def test_a_server_of_a_tests_own_stays_as_it_is(project: Project, temporary: Path) -> None:
    project.ini("berth_source = local")
    project.write(
        test_it="""
            import pytest

            @pytest.mark.berth_redis(scope="test")
            def test_own(redis_client):
                redis_client.set("of", "its own")
                assert False

            @pytest.mark.berth_redis(scope="test")
            def test_passes(redis_client): pass
        """
    )
    project.run("--berth-keep-failed").assert_outcomes(failed=1, passed=1)

    state = kept("test_own")
    assert len(records(temporary)) == 1
    only = command("shell", "--failed", "--print").stdout
    assert only.startswith(f"redis-cli -h 127.0.0.1 -p {state.server.port} ")
    with clients.closing(clients.berths_own(state.reached, int(state.name))) as client:
        assert client.get("of") == b"its own"
    command("prune")
    assert not records(temporary)


OTHERS = """
    def test_keys(redis_client):
        assert redis_client.dbsize() == 0
        redis_client.hset("cart", "item", 1)
        redis_client.set("soon", "gone", px=600_000)
        assert False

    def test_no_keys(redis_client):
        assert redis_client.dbsize() == 0

    def test_records(kafka_probe):
        kafka_probe.publish("orders", "one", key="k", headers={"h": "x"})
        kafka_probe.publish("orders", "two", key="k")
        assert False

    def test_no_records(kafka_probe):
        kafka_probe.expect_none("orders", within=0.1)
"""


def test_keys_and_records_stay_beside_those_of_later_runs(
    project: Project, temporary: Path, require_service: Callable[[Service, str], None]
) -> None:
    require_service(KAFKA, "local")
    project.ini("berth_source = local", "berth_kafka_topics = orders")
    project.write(test_it=OTHERS)
    first = project.run("--berth-keep-failed")
    first.assert_outcomes(passed=2, failed=2)
    first.stdout.fnmatch_lines_random(
        [
            "  redis: redis-cli -h 127.0.0.1 -p * -n *",
            "  kafka: kcat -b * -t berth-kept-*",
        ]
    )
    second = project.run("--berth-keep=1s", "-k", "no_")
    second.assert_outcomes(passed=2, deselected=2)
    second.stdout.fnmatch_lines_random(
        ["*redis*kept by an earlier run*", "*kafka*kept by an earlier run*"]
    )

    keys = kept("test_keys")
    with clients.closing(clients.berths_own(keys.reached, int(keys.name))) as client:
        assert client.hget("cart", "item") == b"1"
        assert client.get("soon") == b"gone"
        assert client.pttl("soon") == -1
    topic = kept("test_records")
    with closing(Brokers(kafka_urls.bootstrap(topic.reached))) as brokers:
        reader, name = Reader(brokers), topic.name
        there = reader.read_to(name, reader.starts(name), reader.ends(name), 10)
    assert [(each.key, each.value, each.headers) for each in there] == [
        (b"k", b"one", (("h", b"x"),)),
        (b"k", b"two", ()),
    ]
    command("prune")
    assert not kept_states.all_of_user()
    # The second run has left the servers to later ones, for a second.
    wait_for(lambda: not records(temporary), 30)


PEEKED = """
    import os, pdb, subprocess, sys
    import psycopg, pytest
    from models import User
    from pytest_berth.cli import shell

    class Debugger(pdb.Pdb):
        def interaction(self, *_, **__): look()
        def set_trace(self, *_, **__): look()

    def look():
        code = "import psycopg; print(psycopg.connect().execute('TABLE users').fetchall())"
        try:
            shell.open_peek(instead=[sys.executable, "-c", code])
        except shell.NotKeptError as error:
            print(error.what)

    def emails(url):
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            return [email for _, email in connection.execute("TABLE users")]

    def test_rolled_back(pg_session, pg_peek_url):
        pg_session.add(User(email="first"))
        pg_session.commit()
        assert emails(pg_peek_url) == []
        breakpoint()
        assert emails(pg_peek_url) == ["first"]
        pg_session.add(User(email="second"))
        pg_session.flush()
        breakpoint()
        assert emails(pg_peek_url) == ["first", "second"]
        assert pg_session.query(User).count() == 2

    def test_committed(pg_engine, pg_session, pg_peek_url):
        pg_session.add(User(email="real"))
        pg_session.commit()
        assert emails(pg_peek_url) == ["real"]
        breakpoint()

    def test_fails(pg_session):
        pg_session.add(User(email="of a failure"))
        pg_session.flush()
        assert False

    def test_aborted(pg_session):
        pg_session.execute(__import__("sqlalchemy").text("SELECT * FROM nowhere"))
"""


def test_a_debugger_shows_a_second_connection_what_the_test_has_done(served: Project) -> None:
    served.models()
    served.write(test_it=PEEKED)
    result = served.run("--pdb", "--pdbcls=test_it:Debugger", "-s")

    result.assert_outcomes(passed=2, failed=2)
    text = result.stdout.str()
    # With -s, it may stand behind what pytest has written of the test.
    assert re.findall(r"\[\(\d.*\)\]", text) == [
        "[(1, 'first')]",
        "[(1, 'first'), (2, 'second')]",
        "[(1, 'real')]",
        "[(1, 'of a failure')]",
    ]
    assert "no test waits in a debugger." in text
    result.stdout.fnmatch_lines(
        ["berth: postgres: to see what the test has done so far, in another terminal: *"]
    )
    result.stdout.fnmatch_lines(
        [
            "berth: postgres: a second connection cannot see what the test has done: an error has"
            " aborted the test's transaction."
        ]
    )
