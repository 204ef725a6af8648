"""The tests of a project: each runs a program, after a look at what the one before has left.

The outer test copies this module into the project, with the programs beside it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import whole_state
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS: list[str] = json.loads(Path("programs.json").read_text(encoding="utf-8"))
ISOLATION = os.environ["PROGRAMS_ISOLATION"]
FIRST: dict[str, Any] = {}
LAST: list[str] = []

pytestmark = pytest.mark.berth_pg(isolation=ISOLATION)


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[str, Callable[[str], object]]]:
    """Yield the database's conninfo, and what runs a statement there."""
    if ISOLATION == "rollback":
        connection = request.getfixturevalue("pg_connection")
        driver = connection.connection.dbapi_connection
        dsn = make_conninfo(driver.info.dsn, password=driver.info.password)
        yield dsn, lambda text: _in_transaction(connection, text)
    else:
        dsn = request.getfixturevalue("pg_dsn")
        with psycopg.connect(dsn, autocommit=True) as own:
            yield dsn, lambda text: own.execute(text.encode())


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_program(opened: tuple[str, Callable[[str], object]], number: int) -> None:
    dsn, execute = opened
    found, program = _compare(dsn), PROGRAMS[number]
    before = LAST[-1] if LAST else ""
    LAST.append(program)
    problems = [_run(execute, each) for each in _statements(program, dsn)]
    with Path("problems").open("a", encoding="utf-8") as file:
        file.writelines(f"{problem}\n" for problem in problems if problem)
    if found:
        told = "\n".join([f"AFTER {before}", *found[:8]])
        with Path("differences").open("a", encoding="utf-8") as file:
            file.write(f"{told}\n")
        pytest.fail(told, pytrace=False)


def test_last(opened: tuple[str, Callable[[str], object]]) -> None:
    assert not _compare(opened[0]), LAST[-1]


def _compare(dsn: str) -> list[str]:
    """Return what differs from what the first test has found."""
    if not FIRST:
        FIRST.update(sums=whole_state.read(dsn), whole=whole_state.read(dsn, whole=True))
    elif whole_state.read(dsn) != FIRST["sums"]:
        before = FIRST["whole"]
        # Each program is blamed for what it has left, and for nothing else.
        FIRST.update(sums=whole_state.read(dsn), whole=whole_state.read(dsn, whole=True))
        return whole_state.differences(before, FIRST["whole"]) or ["only the sums differ"]
    return []


def _statements(program: str, dsn: str) -> list[str]:
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    return program.replace("{db}", str(name)).split(" ;; ")


def _run(execute: Callable[[str], object], statement: str) -> str:
    """Run a statement; return what went otherwise than it should."""
    fails = statement.startswith("!")
    try:
        execute(statement.removeprefix("!"))
    except psycopg.Error as error:
        return "" if fails else f"{statement}: {error}".replace("\n", " ")
    return f"did not fail: {statement}" if fails else ""


def _in_transaction(connection: Any, text: str) -> None:
    driver = connection.connection.dbapi_connection
    try:
        driver.execute(text.encode())
        driver.commit()
    except psycopg.Error:
        driver.rollback()
        raise
