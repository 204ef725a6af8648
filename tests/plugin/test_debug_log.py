"""The debug log ``pytest_berth``, and what a run knows of how long its steps took."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project

TESTS = """
    import pathlib
    from models import User
    from sqlalchemy import make_url, text

    def test_rollback(pg_session, caplog):
        pg_session.add(User(email="a@example.com"))
        pg_session.flush()
        assert "berth: postgres: namespace" not in caplog.text
        told = [each.getMessage() for each in caplog.get_records("setup")]
        assert [line for line in told if line.startswith("postgres: set up took ")]

    def test_commit(pg_engine):
        url = make_url(pg_engine.url.render_as_string(hide_password=False))
        pathlib.Path("password").write_text(url.password)
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users (email) VALUES ('x')"))

    def test_redis(redis_client):
        redis_client.set("a", 1)

    def test_failing(pg_url):
        import logging
        logging.getLogger("pytest_berth").debug("another line: %s", pg_url)
        assert False
"""
# What the end of the run tells comes after pytest's own log has ended.
CONFTEST = """
    import logging

    from pytest_berth.run.plugin_state import PLUGIN_STATE

    handler = logging.FileHandler("own.log")
    logging.getLogger("pytest_berth").addHandler(handler)

    def pytest_terminal_summary(terminalreporter, config):
        logging.getLogger("pytest_berth").setLevel("DEBUG")
        if PLUGIN_STATE in config.stash:
            for event in config.stash[PLUGIN_STATE].run.timeline.events:
                terminalreporter.write_line(f"event {event.worker} {event}")
"""


@pytest.fixture
def local(project: Project, require_source: Callable[[str], None]) -> Project:
    """A project whose servers are started for it."""
    require_source("local")
    project.models("berth_source = local")
    project.write(test_it=TESTS)
    project.conftest(CONFTEST)
    return project


def test_each_step_has_its_line_and_no_password(local: Project) -> None:
    result = local.run("-olog_cli=true", "-olog_cli_level=DEBUG", "-olog_level=DEBUG")
    result.assert_outcomes(passed=3, failed=1)
    told = result.stdout.str()
    for line in (
        "postgres: the source local is asked for: berth_source = local (pytest.ini)",
        "postgres: planned from local (berth_source = local (pytest.ini)), host '127.0.0.1', *",
        "postgres: launch took * s (postgres)",
        "postgres: launched: *, initialised anew (snapshot: it will not be stored)",
        "postgres: answer took * s (postgres)",
        "postgres: start took * s (local)",
        "postgres: step took * s (models:Base.metadata)",
        "postgres: template took * s (schema and seeds, 1 step)",
        "postgres: main joins the server at 127.0.0.1:*",
        "postgres: clone took * s (berth_*_main)",
        "postgres: the namespace of main is open: postgresql+psycopg://berth:[*][*][*]@127.0.0.1:*",
        "postgres: clean up took * s (rollback) for test_it.py::test_rollback",
        "postgres: put back: tables public.users, views none, sequences public.users_id_seq",
        "postgres: clean up took * s (truncation) for test_it.py::test_commit: public.users",
        "redis: clean up took * s (flushed) for test_it.py::test_redis: db0",
        "another line: postgresql+psycopg://berth:[*][*][*]@*",
    ):
        result.stdout.fnmatch_lines([f"*DEBUG * pytest_berth:*{line}"])
    result.stdout.fnmatch_lines(["*- Captured log call -*", "*another line: *[*][*][*]@*"])
    assert (local.root / "password").read_text() not in told
    own = (local.root / "own.log").read_text().splitlines()
    assert {"postgres: stopped (local)", "redis: stopped (local)"} <= set(own)


def test_a_run_under_xdist_knows_what_took_how_long_in_its_workers(local: Project) -> None:
    local.plugins = ("xdist",)
    result = local.run("-n", "2", "-k", "not failing and not rollback")
    result.assert_outcomes(passed=2)
    events = [line for line in result.outlines if line.startswith("event ")]
    told = [re.sub(r"[\d.]+ s\b|(?<=: db)\d+$", "N", each.split(" ", 2)[2]) for each in events]
    assert {each.split()[1] for each in events} == {"gw0", "gw1"}
    assert {
        "postgres: start took N (local)",
        "postgres: template took N (schema and seeds, 1 step)",
        "postgres: clean up took N (truncation) for test_it.py::test_commit: public.users",
        "redis: clean up took N (flushed) for test_it.py::test_redis: dbN",
    } <= set(told)
    assert len([line for line in told if line.startswith("postgres: template took")]) == 1
