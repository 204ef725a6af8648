"""What a user reads: header, the line of a started server, failures, summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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


def test_header_start_and_summary_say_what_runs_where(local: Project) -> None:
    local.write(test_it="def test_it(pg_session): pass")
    local.run().stdout.fnmatch_lines(
        [
            "berth: berth_source = local (pytest.ini), berth_snapshots = off (BERTH_SNAPSHOTS), *",
            f"berth: {SERVED}",
            "*= berth =*",
            SERVED,
        ]
    )


def test_the_line_of_a_started_server_is_printed_despite_capture_and_before_it_ends(
    local: Project,
) -> None:
    local.write(test_it="def test_it(pg_session): print('captured')")
    result = local.run("-q")
    result.stdout.fnmatch_lines([f"berth: {SERVED}"])
    result.stdout.no_fnmatch_line("captured")


def test_without_integration_tests_there_is_no_summary(local: Project) -> None:
    local.write(test_it="def test_it(): pass")
    local.run().stdout.no_fnmatch_line("*= berth =*")


def test_a_failing_test_shows_its_own_lines_of_the_servers_log(local: Project) -> None:
    local.write(
        test_it="""
            import pytest
            from sqlalchemy import text

            def test_quiet(pg_session):
                with pytest.raises(Exception):
                    pg_session.execute(text("SELECT * FROM not_of_interest"))

            def test_loud(pg_session):
                pg_session.execute(text("SELECT * FROM nowhere_to_be_found"))
        """
    )
    result = local.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- postgres isolation -*",
            "rollback: pg_session and pg_connection are the only way in",
            "*- postgres log during the test -*",
            '*ERROR:  relation "nowhere_to_be_found" does not exist*',
            "*STATEMENT:  SELECT [*] FROM nowhere_to_be_found",
        ]
    )
    log = result.stdout.str().partition("log during the test")[2]
    assert "not_of_interest" not in log


def test_a_failing_test_shows_the_log_of_its_fixtures_too(local: Project) -> None:
    local.write(
        test_it="""
            import pytest
            from sqlalchemy import text

            @pytest.fixture
            def broken(pg_session):
                pg_session.execute(text("SELECT * FROM nowhere_to_be_found"))

            def test_it(broken): pass
        """
    )
    local.run().stdout.fnmatch_lines(
        ["*- postgres log during the test -*", '*ERROR:  relation "nowhere_to_be_found" *']
    )


def test_the_log_is_shown_under_xdist_too(local: Project) -> None:
    local.plugins = ("xdist",)
    local.write(
        test_it="""
            from sqlalchemy import text

            def test_it(pg_session):
                pg_session.execute(text("SELECT * FROM nowhere_to_be_found"))
        """
    )
    local.run("-n", "2").stdout.fnmatch_lines(
        ["*- postgres log during the test -*", '*ERROR:  relation "nowhere_to_be_found" *']
    )


def test_a_failing_unit_test_shows_nothing_of_berth(served: Project) -> None:
    served.models()
    served.write(test_it="def test_pg(pg_session): pass\ndef test_unit(): assert False")
    result = served.run()
    result.stdout.no_fnmatch_line("*isolation*")
    result.stdout.no_fnmatch_line("*log during the test*")


def test_with_vv_under_xdist_each_test_tells_its_isolation(served: Project) -> None:
    served.plugins = ("xdist",)
    served.models()
    served.write(test_it="def test_pg(pg_session): pass\ndef test_url(pg_url): pass")
    result = served.run("-n", "2", "-vv")
    result.stdout.re_match_lines_random(
        [
            r".*PASSED \(postgres rollback: .* only way in\).* test_it.py::test_pg",
            r".*PASSED \(postgres truncation: pg_url is another way in\).* test_it.py::test_url",
        ]
    )


def test_with_one_v_nothing_is_told_of_isolation(served: Project) -> None:
    served.models()
    served.write(test_it="def test_pg(pg_session): pass")
    served.run("-v").stdout.no_fnmatch_line("*rollback*")


@pytest.mark.parametrize("style", ["long", "short", "native", "line"])
def test_an_error_of_berth_is_shown_as_its_message(project: Project, style: str) -> None:
    project.models("berth_start_timeout = 0.3")
    project.write(test_it="def test_pg(pg_session): pass")
    result = project.run(f"--tb={style}", BERTH_PG_URL="postgresql://nobody@127.0.0.1:1/nothing")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*postgres at 127.0.0.1:1 did not answer in time.*", "*why: berth_start_timeout = 0.3 *"]
    )
    for unwanted in ("*Traceback*", "*workspace.py*", "*def pg_session*"):
        result.stdout.no_fnmatch_line(unwanted)


@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["alone", "xdist"])
def test_what_fails_every_test_is_explained_once(
    project: Project, arguments: tuple[str, ...]
) -> None:
    project.plugins = ("xdist", "xdist.looponfail") if arguments else ()
    project.write(test_it="def test_1(pg_session): pass\ndef test_2(pg_session): pass")
    url = {"BERTH_PG_URL": "postgresql://nobody@127.0.0.1:1/nothing", "BERTH_START_TIMEOUT": "0.3"}

    brief, full = (project.run(*arguments, "-rN", *more, **url) for more in ([], ["-vv"]))

    assert [brief.stdout.str().count("  why: "), full.stdout.str().count("  why: ")] == [1, 2]
    named = brief.stdout.str().count("postgres at 127.0.0.1:1 did not answer in time.")
    assert named == full.stdout.str().count("postgres at 127.0.0.1:1 did not answer in time.")
    brief.stdout.re_match_lines([r"  \(why, and what to do: see test_it.py::test_[12]\)"])


def test_the_short_summary_names_an_error_of_berth(project: Project) -> None:
    project.models("berth_start_timeout = 0.3")
    project.write(test_it="def test_pg(pg_session): pass")
    result = project.run(BERTH_PG_URL="postgresql://nobody@127.0.0.1:1/nothing")
    # An older pytest names the test only, where a report is a text.
    message = " - *postgres at 127.0.0.1:1 did not*" if pytest.version_tuple >= (9,) else ""
    result.stdout.fnmatch_lines([f"ERROR test_it.py::test_pg{message}"])


def test_an_error_of_the_application_keeps_its_traceback(served: Project) -> None:
    served.models()
    served.write(
        test_it="""
            def helper():
                raise RuntimeError("of the application")

            def test_pg(pg_session):
                helper()
        """
    )
    served.run().stdout.fnmatch_lines(["*def test_pg(pg_session):", "E * of the application"])


def test_quiet_shows_no_header(served: Project) -> None:
    served.models()
    served.write(test_it="def test_pg(pg_session): pass")
    served.run("-q").stdout.no_fnmatch_line("berth: berth_pg_url*")


def test_a_program_that_takes_long_in_each_run_is_told_with_what_spares_it(served: Project) -> None:
    served.ini("berth_pg_schema = command: python -c 'import time; time.sleep(1.1)'")
    served.write(test_it="def test_it(pg_url): pass")
    told = "postgres: schema and seeds took *next run*berth_pg_fingerprint names these files"
    first = served.run(BERTH_SNAPSHOTS="on")
    first.stdout.fnmatch_lines([told])
    again = served.run("-oberth_pg_fingerprint=test_it.py", BERTH_SNAPSHOTS="on")
    again.stdout.no_fnmatch_line(told)
