"""The summary of a run: what took how long, what was put back, what stays; and JUnit properties."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project

TESTS = """
    import pytest
    from models import User
    from sqlalchemy import text

    def execute(engine, *statements):
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    @pytest.mark.parametrize("number", range(3))
    def test_rolled_back(pg_session, number):
        pg_session.add(User(email="a@example.com"))
        pg_session.commit()

    @pytest.mark.parametrize("number", range(2))
    def test_committing(pg_engine, number):
        execute(pg_engine, "INSERT INTO users (email) VALUES ('x')")

    def test_creating(pg_engine):
        execute(pg_engine, "CREATE TABLE extra (id int)")

    def test_altering(pg_engine):
        execute(pg_engine, "ALTER TABLE users ADD COLUMN more int")

    def test_redis(redis_client):
        redis_client.set("a", 1)

    def test_unit(): pass
"""


@pytest.fixture
def local(project: Project, require_source: Callable[[str], None]) -> Project:
    """A project whose servers are started for it."""
    require_source("local")
    project.models("berth_source = local")
    project.write(test_it=TESTS)
    return project


def summary(result: pytest.RunResult) -> list[str]:
    """Return the lines of berth's part of the terminal's summary, without figures of time."""
    lines = result.stdout.str().partition("= berth =")[2].splitlines()[1:]
    end = next(number for number, line in enumerate(lines) if line.startswith(("=", "-")))
    return [re.sub(r"[\d.e+]+ m?s\b", "N s", line) for line in lines[:end]]


def test_it_is_told_when_asked_for_what_took_how_long_also_under_xdist(local: Project) -> None:
    local.plugins = ("xdist",)
    # One worker changes the schema, which two may do at once.
    command = ("-n", "2", "--dist", "loadfile", "--junitxml", "report.xml")
    result = local.run(*command, "--berth-summary")
    result.assert_outcomes(passed=9)
    told = summary(result)
    pytest.LineMatcher(told).fnmatch_lines_random(
        [
            "postgres 17* ready in N s: local, *",
            "*postgres N s, from N s on, local: *launch N s, answer N s",
            "*redis N s, from N s on, local: *",
            "schema         postgres N s: schema and seeds, 1 step",
            "               N s models:Base.metadata",
            "clones         1, N s each (median)",
            "*postgres rollback: 3 tests, p50 N s, p95 N s per test",
            "*postgres truncation: 4 tests, p50 N s, p95 N s per test",
            "*redis flushed: 1 test, p50 N s, p95 N s per test",
            "put back       postgres: public.users 2",
            "               redis: db* 1",
            "schema changes postgres: test_it.py::test_creating: table extra was created*",
            "rebuilt        postgres: test_it.py::test_altering changed the schema: *column more*",
        ]
    )
    assert not [line for line in told if line.startswith(("stays", "hint"))]
    cases = {
        each.get("name"): {each.get("name"): each.get("value") for each in each.iter("property")}
        for each in ElementTree.parse(local.root / "report.xml").iter("testcase")
    }
    assert cases["test_unit"] == {}
    properties = cases["test_committing[0]"]
    isolation = "postgres truncation: pg_engine is another way in"
    assert properties["berth.isolation"] == isolation
    assert re.fullmatch(r"postgres 17.* \(local, 127\.0\.0\.1:\d+\)", properties["berth.servers"])


def test_it_is_not_told_unasked_and_says_what_stays_and_why(local: Project) -> None:
    keep = ("--berth-keep", "1m", "-k", "rolled_back or unit")
    try:
        quiet = local.run(*keep)
        assert [line.partition(" ")[0] for line in summary(quiet)] == ["postgres"]
        told = summary(local.run(*keep, "-v"))
    finally:
        local.run("--berth-stop")
    pytest.LineMatcher(told).fnmatch_lines(
        [
            "starts         postgres N s, from N s on, an earlier run's",
            "stays          postgres: the server, for the next run (berth_keep = 1m *);"
            " pytest --berth-stop ends it",
        ]
    )
