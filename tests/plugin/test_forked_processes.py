"""Processes that a test forks, and that do not end where they should."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project

FORKING = """
import os
import sys
import psycopg
import pytest

def in_child(work):
    pid = os.fork()
    if pid == 0:
        work()
        return None
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def fail():
    raise ValueError("in the child")

@pytest.mark.parametrize(
    ("work", "status"),
    [(fail, 1), (sys.exit, 0), (lambda: sys.exit(7), 7), (lambda: sys.exit("why"), 1), (int, 0)],
)
def test_a_child(pg_dsn, work, status):
    assert in_child(work) in {status, None}

def test_a_child_that_ends_the_run(pg_dsn):
    assert in_child(lambda: pytest.exit("in the child")) is not None

@pytest.mark.parametrize("number", range(5))
def test_after_it(pg_dsn, number):
    with psycopg.connect(pg_dsn) as connection:
        (found,) = connection.execute("SELECT count(*) FROM numbers").fetchone()
        connection.execute("INSERT INTO numbers VALUES (1)")
    assert found == 0

def test_what_is_told(pg_dsn):
    assert in_child(fail) == 0
"""


def test_a_forked_process_that_comes_back_to_pytest_is_ended(project: Project) -> None:
    """It neither runs the tests that are left, nor cleans up, nor ends the servers."""
    project.ini("berth_pg_schema = schema.sql")
    (project.root / "schema.sql").write_text("CREATE TABLE numbers (number int);")
    project.write(test_it=FORKING)
    result = project.run("-v")
    result.assert_outcomes(passed=11, failed=1)
    result.stderr.fnmatch_lines(
        [
            "berth: a process that test_it.py::test_what_is_told has forked came back to pytest,*",
            "E       ValueError: in the child",
        ]
    )
