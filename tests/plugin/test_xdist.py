"""Under xdist: one server, one template, a database per worker."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from marks import nightly

if TYPE_CHECKING:
    from conftest import Project


@pytest.fixture
def spread(project: Project) -> Project:
    """A project run by two workers, and tests that note where they have run."""
    project.plugins = ("xdist",)
    project.models()
    project.write(
        test_it="""
            import json, os
            from pathlib import Path
            import pytest
            from sqlalchemy import select, text
            from models import User

            @pytest.mark.parametrize("n", range(8))
            def test_it(pg_session, pg_server, n):
                pg_session.add(User(email="a@example.com"))
                pg_session.commit()
                assert pg_session.scalars(select(User.id)).all() == [1]
                facts = {
                    "worker": os.environ["PYTEST_XDIST_WORKER"],
                    "server": [pg_server.host, pg_server.port],
                    "database": pg_session.scalar(text("SELECT current_database()")),
                    "databases": pg_session.scalars(
                        text("SELECT datname FROM pg_database WHERE datname LIKE 'berth_%'")
                    ).all(),
                }
                Path(f"facts-{n}.json").write_text(json.dumps(facts))
        """
    )
    return project


def facts(project: Project) -> list[dict[str, object]]:
    """Return what the tests have noted."""
    import json

    return [json.loads(path.read_text()) for path in project.root.glob("facts-*.json")]


@pytest.mark.parametrize("distribution", ["load", *nightly("worksteal")])
def test_two_workers_share_a_server_and_have_a_database_each(
    spread: Project, distribution: str
) -> None:
    result = spread.run("-n", "2", "--berth-source=local", "--dist", distribution)
    result.assert_outcomes(passed=8)
    noted = facts(spread)
    assert len({str(each["server"]) for each in noted}) == 1
    places = {(each["worker"], each["database"]) for each in noted}
    assert len(places) == len({worker for worker, _ in places})
    (run_id,) = {str(each["database"]).split("_")[1] for each in noted}
    assert {name for _, name in places} <= {f"berth_{run_id}_gw0", f"berth_{run_id}_gw1"}
    names = {name for each in noted for name in each["databases"]}  # type: ignore[attr-defined]
    assert names == {f"berth_{run_id}_{part}" for part in ("template", "gw0", "gw1")}


def test_the_schema_is_applied_once(served: Project) -> None:
    served.plugins = ("xdist",)
    served.ini("berth_pg_schema = models:create")
    served.write(
        models="""
            from pathlib import Path

            def create(connection):
                with Path("applied").open("a") as stream:
                    stream.write("once\\n")
        """,
        test_it="""
            import pytest

            @pytest.mark.parametrize("n", range(6))
            def test_it(pg_session, n): pass
        """,
    )
    served.run("-n", "2").assert_outcomes(passed=6)
    assert (served.root / "applied").read_text() == "once\n"


def test_a_schema_that_fails_is_applied_once_and_told_by_every_test(served: Project) -> None:
    served.plugins = ("xdist",)
    served.ini("berth_pg_schema = bad.sql")
    (served.root / "bad.sql").write_text("CREATE TABLE one (id int);\nCREATE TABEL two (id int);\n")
    served.write(
        test_it="""
            import pytest

            @pytest.mark.parametrize("n", range(4))
            def test_it(pg_session, n): pass
        """
    )
    result = served.run("-n", "2")
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(["*bad.sql*", "*TABEL*"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("option", ["-x", *nightly("--maxfail=1")])
def test_stopping_at_the_first_failure_ends_the_run(served: Project, option: str) -> None:
    served.plugins = ("xdist",)
    served.models()
    served.write(
        test_it="""
            import pytest

            @pytest.mark.parametrize("n", range(20))
            def test_it(pg_session, n): assert False
        """
    )
    result = served.run("-n", "2", option)
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    assert result.parseoutcomes()["failed"] < 20


def test_a_crashed_worker_is_replaced_and_the_run_ends(served: Project) -> None:
    served.plugins = ("xdist",)
    served.models()
    served.write(
        test_crash="""
            import os

            def test_crash(pg_session): os._exit(1)
        """,
        test_it="""
            import pytest

            @pytest.mark.parametrize("n", range(8))
            def test_it(pg_session, n): pass
        """,
    )
    result = served.run("-n", "2")
    result.stdout.fnmatch_lines(["*crashed while running*"])
    result.assert_outcomes(passed=8, failed=1)


def test_the_line_of_a_started_server_is_printed_once(spread: Project) -> None:
    result = spread.run("-n", "2", "--berth-source=local")
    text = result.stdout.str() + result.stderr.str()
    before, _, after = text.partition("= berth =")
    assert before.count("ready in") == 1
    assert after.count("ready in") == 1


def test_commits_of_workers_do_not_meet(served: Project) -> None:
    served.plugins = ("xdist",)
    served.models()
    served.write(
        test_it="""
            import pytest
            from sqlalchemy import insert, select
            from models import User

            @pytest.mark.parametrize("n", range(20))
            def test_it(pg_engine, n):
                with pg_engine.begin() as connection:
                    connection.execute(insert(User).values(email="same"))
                with pg_engine.connect() as connection:
                    assert connection.scalars(select(User.id)).all() == [1]
        """
    )
    served.run("-n", "2").assert_outcomes(passed=20)


@pytest.mark.skipif(sys.platform != "linux", reason="runs of the suite are forks on Linux only")
def test_a_run_of_this_suite_and_its_workers_are_forks_in_their_own_environment(
    project: Project,
) -> None:
    """Else each of them imports everything anew, which costs as much as the run."""
    project.plugins = ("xdist",)
    project.conftest(
        """
        from pathlib import Path

        PROGRAM = Path("/proc/self/cmdline").read_text()

        def pytest_configure():
            assert "fork_server.py" in PROGRAM
        """
    )
    project.write(
        test_it="""
            import os
            import conftest

            def test_it(worker_id):
                assert worker_id == "gw0"
                assert "fork_server.py" in conftest.PROGRAM
                assert os.environ["OF_THIS_RUN"] == "1"
                print("captured")
                os.write(2, b"not captured by name")
        """
    )
    result = project.run("-n", "1", "-rP", OF_THIS_RUN="1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["captured", "not captured by name"])
