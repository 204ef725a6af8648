"""What becomes of each change that a test can make is as the documentation's tables say."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from limit_tables import postgres
from limit_tables.table import SERVERS
from marks import nightly

from . import conftest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project

ROWS = [row for table in postgres.TABLES for row in table.rows]
TESTS = """
import json
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

HERE = Path(__file__).parent
SEEN = []

def cases():
    for number, row in enumerate(json.loads((HERE / "rows.json").read_text())):
        for isolation in ("rollback", "truncation", "database"):
            for phase in ("before", "change", "after"):
                looking = isolation == "rollback" and phase != "change"
                mark = pytest.mark.berth_pg(isolation="truncation" if looking else isolation)
                own = json.loads(json.dumps(row).replace("$isolation", isolation))
                id = f"{number}-{isolation}-{phase}"
                yield pytest.param(number, own, isolation, phase, marks=mark, id=id)

def look(dsn, row):
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute(row["probe"]).fetchall()

def send(conn, statements):
    for statement in statements:
        conn.execute(statement)

@pytest.mark.parametrize(("number", "row", "isolation", "phase"), list(cases()))
def test_row(number, row, isolation, phase, pg_dsn, pg_connection):
    dsn = make_conninfo(pg_dsn, dbname=row["database"]) if row["database"] else pg_dsn
    if phase == "before":
        SEEN[:] = [look(dsn, row), False]
    elif phase == "change":
        try:
            if isolation == "rollback" and not row["database"]:
                send(pg_connection.connection.dbapi_connection, row["change"])
            else:
                with psycopg.connect(dsn, autocommit=True) as conn:
                    send(conn, row["change"])
        except psycopg.errors.ActiveSqlTransaction:
            SEEN[1] = True
        except psycopg.errors.UniqueViolation:
            assert "failed" in row["does"]
    else:
        changed = look(dsn, row) != SEEN[0]
        with (HERE / "found.jsonl").open("a") as file:
            file.write(json.dumps([number, isolation, changed, SEEN[1]]) + "\\n")
        if changed:
            with psycopg.connect(dsn, autocommit=True) as conn:
                send(conn, row["undo"])
"""
OTHER_WORKER = "def test_of_another_worker(pg_connection): pass"
AFTER_COMMIT = """
import json
from pathlib import Path

import pytest

ROWS = json.loads((Path(__file__).parent / "commit.json").read_text())

@pytest.mark.parametrize("isolation", [
    pytest.param(each, marks=pytest.mark.berth_pg(isolation=each), id=each)
    for each in ("rollback", "truncation")
])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["does"])
def test_commit(row, isolation, pg_connection):
    for statement in row["change"]:
        pg_connection.exec_driver_sql(statement)
    pg_connection.commit()
    lasts = pg_connection.exec_driver_sql(row["probe"]).scalar()
    assert lasts == (row["outcomes"][isolation == "truncation"][0] == "l")
"""


@pytest.fixture
def stranger() -> Iterator[str]:
    """Yield the URL of a server that berth has not started."""
    with conftest.temporary_server() as dsn:
        yield f"postgresql://berth@/postgres?host={conninfo_to_dict(dsn)['host']}"


@pytest.mark.parametrize("server", ["one worker", *nightly("several workers", "external")])
def test_what_becomes_of_each_change_is_as_documented(
    server: str,
    request: pytest.FixtureRequest,
    project: Project,
    require_source: Callable[[str], None],
) -> None:
    source = "berth_source = local"
    if server == "external":
        source = f"berth_pg_url = {request.getfixturevalue('stranger')}"
    else:
        require_source("local")
    project.plugins = ("xdist", "xdist.looponfail")
    settings = "berth_pg_settings = wal_level = logical" if "local" in source else ""
    project.ini(source, "berth_pg_schema = schema.sql", settings)
    (project.root / "schema.sql").write_text(postgres.SCHEMA)
    _write(project, "rows", ROWS)
    _write(project, "commit", postgres.COMMIT.rows)
    project.write(test_rows=TESTS, test_commit=AFTER_COMMIT, test_other=OTHER_WORKER)
    workers = ("-n2", "--dist=loadfile") if server == "several workers" else ()
    result = project.run("-p", "no:randomly", "-rfE", "-v", *workers)

    outcomes = result.parseoutcomes()
    assert outcomes == {"passed": outcomes["passed"], "errors": 1}
    place = SERVERS.index(server)
    expected = [[outcome[place] for outcome in row.outcomes] for row in ROWS]
    found = _found(project, result.outlines)
    different = {
        row.does: (each, wanted)
        for row, each, wanted in zip(ROWS, found, expected, strict=True)
        if each != wanted
    }
    assert different == {}


def _write(project: Project, name: str, rows: Any) -> None:
    (project.root / f"{name}.json").write_text(json.dumps([asdict(row) for row in rows]))


def _found(project: Project, lines: list[str]) -> list[list[str]]:
    """Return a letter for each isolation of each row."""
    letters: list[list[str]] = [[] for _ in ROWS]
    for line in (project.root / "found.jsonl").read_text().splitlines():
        number, isolation, changed, refused = json.loads(line)
        name = f"test_row[{number}-{isolation}-change]"
        of_test = [each for each in lines if name in each]
        told = any("berth: postgres: " in each for each in of_test)
        if refused:
            letter = "r"
        elif any(each.startswith("ERROR ") for each in of_test):
            letter = "f"
        else:
            letter = {(True, True): "t", (True, False): "s", (False, True): "n"}.get(
                (changed, told), "b"
            )
        letters[number].append(letter)
    return letters
