"""What a user reads: header, the line of a started server, failures, summary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from marks import nightly

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project

SERVED = "postgres 17* ready in * s: local, *, at 127.0.0.1:* (berth_source = local (pytest.ini))"


@pytest.fixture
def local(project: Project, require_source: Callable[[str], None]) -> Project:
    """A project that starts a server, whose log can be read."""
    require_source("local")
    project.models("berth_source = local")
    return project


TESTS = """
    import pytest
    from sqlalchemy import text

    @pytest.fixture
    def broken(pg_session):
        pg_session.execute(text("SELECT * FROM of_a_fixture"))

    def test_quiet(pg_session):
        print("captured")
        with pytest.raises(Exception):
            pg_session.execute(text("SELECT * FROM not_of_interest"))

    def test_loud(pg_session):
        pg_session.execute(text("SELECT * FROM nowhere_to_be_found"))

    def test_broken(broken): pass

    def test_unit(): assert False, "a unit test"

    def helper():
        raise RuntimeError("of the application")

    def test_application(pg_url):
        helper()
"""


def failure(result: pytest.RunResult, name: str) -> str:
    """Return what is shown of a test that has failed."""
    return re.split(rf"\n_+ [\w ]*{name} _+\n", result.stdout.str())[1].partition("\n____")[0]


def test_what_is_told_of_servers_and_of_failing_tests(local: Project) -> None:
    local.write(test_it=TESTS)
    result = local.run("-v")
    result.assert_outcomes(passed=1, failed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "berth: berth_source = local (pytest.ini), berth_snapshots = off (BERTH_SNAPSHOTS), *",
            f"berth: {SERVED}",
            "*::test_quiet PASSED *",
            "*= berth =*",
            SERVED,
        ]
    )
    result.stdout.no_fnmatch_line("*PASSED*rollback*")
    loud = failure(result, "test_loud")
    pytest.LineMatcher(loud.splitlines()).fnmatch_lines(
        [
            "*- postgres isolation -*",
            "rollback: pg_session and pg_connection are the only way in",
            "*- postgres log during the test -*",
            '*ERROR:  relation "nowhere_to_be_found" does not exist*',
            "*STATEMENT:  SELECT [*] FROM nowhere_to_be_found",
        ]
    )
    assert "not_of_interest" not in loud
    in_fixture = failure(result, "test_broken").partition("log during the test")[2]
    assert 'ERROR:  relation "of_a_fixture" ' in in_fixture
    assert "nowhere_to_be_found" not in in_fixture
    of_unit = failure(result, "test_unit")
    assert "a unit test" in of_unit
    assert "isolation" not in of_unit
    assert "log during the test" not in of_unit
    of_application = failure(result, "test_application").splitlines()
    pytest.LineMatcher(of_application).fnmatch_lines(
        ["*def test_application(pg_url):", "E * application"]
    )


def test_quiet_shows_the_started_server_before_it_ends_and_no_header(local: Project) -> None:
    local.write(test_it="def test_it(pg_session): print('captured')")
    result = local.run("-q")
    result.stdout.fnmatch_lines([f"berth: {SERVED}"])
    result.stdout.no_fnmatch_line("captured")
    result.stdout.no_fnmatch_line("berth: berth_source*")


def test_without_integration_tests_there_is_no_summary(local: Project) -> None:
    local.write(test_it="def test_it(): pass")
    local.run().stdout.no_fnmatch_line("*= berth =*")


def test_with_vv_under_xdist_each_test_tells_its_isolation_and_its_log(local: Project) -> None:
    local.plugins = ("xdist",)
    local.write(
        test_it="""
            from sqlalchemy import text

            def test_pg(pg_session): pass

            def test_url(pg_url): pass

            def test_loud(pg_session):
                pg_session.execute(text("SELECT * FROM nowhere_to_be_found"))
        """
    )
    result = local.run("-n", "2", "-vv")
    result.stdout.re_match_lines_random(
        [
            r".*PASSED \(postgres rollback: .* only way in\).* test_it.py::test_pg",
            r".*PASSED \(postgres truncation: pg_url is another way in\).* test_it.py::test_url",
        ]
    )
    result.stdout.fnmatch_lines(
        ["*- postgres log during the test -*", '*ERROR:  relation "nowhere_to_be_found" *']
    )


@pytest.mark.parametrize("style", ["native", *nightly("long", "short", "line")])
def test_an_error_of_berth_is_shown_as_its_message(project: Project, style: str) -> None:
    project.models("berth_start_timeout = 0.3")
    project.write(test_it="def test_pg(pg_session): pass")
    result = project.run(f"--tb={style}", BERTH_PG_URL="postgresql://nobody@127.0.0.1:1/nothing")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*postgres at 127.0.0.1:1 did not answer in time.*", "*why: berth_start_timeout = 0.3 *"]
    )
    for unwanted in ("*Traceback*", "*worker_database.py*", "*def pg_session*"):
        result.stdout.no_fnmatch_line(unwanted)
    # An older pytest names the test only, where a report is a text.
    message = " - *postgres at 127.0.0.1:1 did not*" if pytest.version_tuple >= (9,) else ""
    result.stdout.fnmatch_lines([f"ERROR test_it.py::test_pg{message}"])


@pytest.mark.parametrize("workers", [*nightly("0"), "2"])
def test_what_fails_every_test_is_explained_once(project: Project, workers: str) -> None:
    project.plugins = ("xdist", "xdist.looponfail")
    project.write(test_it="def test_1(pg_session): pass\ndef test_2(pg_session): pass")
    url = {"BERTH_PG_URL": "postgresql://nobody@127.0.0.1:1/nothing", "BERTH_START_TIMEOUT": "0.3"}

    brief = project.run("-n", workers, "-rN", **url)

    assert brief.stdout.str().count("  why: ") == 1
    assert brief.stdout.str().count("postgres at 127.0.0.1:1 did not answer in time.") == 2
    brief.stdout.re_match_lines([r"  \(why, and what to do: see test_it.py::test_[12]\)"])
    if workers == "0":
        full = project.run("-rN", "-vv", **url).stdout.str()
        assert full.count("  why: ") == 2
        assert full.count("postgres at 127.0.0.1:1 did not answer in time.") == 2


def test_a_program_that_takes_long_in_each_run_is_told_with_what_spares_it(served: Project) -> None:
    served.ini("berth_pg_schema = command: python -c 'import time; time.sleep(1.1)'")
    served.write(test_it="def test_it(pg_url): pass")
    told = "hint: postgres: schema and seeds took *next run*berth_pg_fingerprint names these files"
    first = served.run(BERTH_SNAPSHOTS="on")
    first.stdout.fnmatch_lines([told])
    again = served.run("-oberth_pg_fingerprint=test_it.py", BERTH_SNAPSHOTS="on")
    again.stdout.no_fnmatch_line(told)
