"""What happens to integration tests when no source can serve."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from marks import nightly

if TYPE_CHECKING:
    from conftest import Project

NO_ENGINE = {"DOCKER_HOST": "tcp://127.0.0.1:1"}


@pytest.fixture
def unserved(project: Project) -> Project:
    """A project with a unit and two integration tests, of a PostgreSQL that nobody has."""
    project.models("berth_pg_version = 99")
    project.write(
        test_it="""
            def test_unit(): pass
            def test_one(pg_session): pass
            def test_two(pg_url): pass
        """
    )
    return project


def test_the_error_lists_each_source_why_it_cannot_serve_and_what_to_do(unserved: Project) -> None:
    result = unserved.run(**NO_ENGINE)
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "no source can serve postgres.",
            "  why: external: no server is given by URL. (berth_pg_url is not set)",
            "       container: no container engine answers.*",
            "       local: there are no binaries of PostgreSQL 99 for this machine.*",
            "  do:  external: set berth_pg_url: use a URL such as postgresql://*",
            "       container: *Docker*",
            "       local: set berth_pg_version to one of *",
            "       or install PostgreSQL 99 *",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*site-packages*")


def test_skip_skips_them_and_says_why(unserved: Project) -> None:
    result = unserved.run("-o", "berth_missing=skip", "-rs", **NO_ENGINE)
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(
        ["SKIPPED *no source can serve postgres. (berth_missing = skip (-o))*"]
    )


def test_skip_skips_them_under_xdist_too(unserved: Project) -> None:
    unserved.plugins = ("xdist",)
    result = unserved.run("-n", "2", "-o", "berth_missing=skip", **NO_ENGINE)
    result.assert_outcomes(passed=1, skipped=2)


@pytest.mark.parametrize("source", ["container", *nightly("local", "external")])
def test_asking_for_a_source_by_name_never_falls_back(unserved: Project, source: str) -> None:
    result = unserved.run(f"--berth-source={source}", **NO_ENGINE)
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "postgres cannot be served from the source asked for: "
            f"berth_source = {source} (--berth-source).*",
            "*or let berth choose: berth_source = auto",
        ]
    )


def test_a_source_of_postgres_goes_before_that_of_all(unserved: Project) -> None:
    result = unserved.run("--berth-source=local", "-o", "berth_pg_source=container", **NO_ENGINE)
    result.stdout.fnmatch_lines(["*asked for: berth_pg_source = container (-o).*"])


def test_a_server_that_does_not_answer_fails_whatever_is_to_be_skipped(unserved: Project) -> None:
    result = unserved.run(
        "-o",
        "berth_missing=skip",
        "-o",
        "berth_start_timeout=0.5",
        BERTH_PG_URL="postgresql://nobody@127.0.0.1:1/nothing",
    )
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*postgres at 127.0.0.1:1 did not answer in time.*"])


def test_a_server_that_a_url_names_is_waited_for_shortly_and_once(unserved: Project) -> None:
    result = unserved.run(BERTH_PG_URL="postgresql://nobody@127.0.0.1:1/nothing")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*why: 10 s, as it is there already; *"])
    assert "waiting for its first answer" not in result.stdout.str().partition("ERRORS")[2]


def test_binaries_that_cannot_be_downloaded_are_no_source(unserved: Project) -> None:
    settings = ("-o", "berth_missing=skip", "-o", "berth_pg_version=16", "--berth-source=local")
    offline = {"BERTH_ARTIFACT_MIRROR": "http://127.0.0.1:1"}
    with tempfile.TemporaryDirectory() as cache:
        Path(cache).chmod(0o755)  # an unprivileged server has to enter it
        result = unserved.run(*settings, "-rs", BERTH_CACHE=cache, **offline)
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*could not be reached*berth_missing = skip*"])
