"""What all steps share: redaction, search for programs, light imports, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from pytest_berth.errors import SchemaError, SettingsError
from pytest_berth.schema import run_program
from pytest_berth.schema.steps import tail
from pytest_berth.services.postgres.schema import Target, parse, psql

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    """Give a connection that nothing is to be sent on."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def target(*secrets: str) -> Target:
    """Return a target that nobody connects to."""
    return Target("url", "dsn", {"A": "1"}, Path("/"), secrets)


def test_secrets_are_redacted_also_where_they_are_quoted() -> None:
    text = "password p@ss/word in postgresql://u:p%40ss%2Fword@h and p@ss/word-2"
    redacted = target("p@ss/word", "p@ss/word-2", "").redact(text)
    assert redacted == "password *** in postgresql://u:***@h and ***"


def test_a_target_shows_no_secret() -> None:
    shown = repr(Target("url-secret", "dsn-secret", {"X": "secret"}, Path("/"), ("secret",)))
    assert "secret" not in shown


def test_the_environment_of_a_target_goes_over_that_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A", "0")
    monkeypatch.setenv("B", "2")
    variables = target().variables()
    assert (variables["A"], variables["B"]) == ("1", "2")


def test_long_output_is_cut_at_its_beginning() -> None:
    assert tail("a\nb\nc\n", 2) == "... (1 lines before)\nb\nc"
    assert tail("a\nb\n", 2) == "a\nb"


def test_this_interpreters_programs_come_first() -> None:
    found = run_program.find("pytest", Path("/"), {"PATH": "/nowhere"})
    assert found
    assert Path(found).parent == Path(sys.executable).parent


def test_a_program_with_a_directory_is_relative_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "migrate").write_text("#!/bin/sh\n")
    (tmp_path / "migrate").chmod(0o755)
    assert run_program.find("./migrate", tmp_path, os.environ) == str(tmp_path / "migrate")


def test_a_process_that_was_killed_says_by_which_signal(tmp_path: Path) -> None:
    done = run_program.run(["sh", "-c", "kill -9 $$"], tmp_path, os.environ)
    assert done.how == "was ended by SIGKILL"


def test_the_newest_psql_of_the_usual_places_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("9.6", "15", "17"):
        place = tmp_path / version / "bin"
        place.mkdir(parents=True)
        (place / "psql").write_text("#!/bin/sh\n")
        (place / "psql").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(psql, "PLACES", (f"{tmp_path}/*/bin",))
    assert psql.program("a.sql") == str(tmp_path / "17" / "bin" / "psql")


@pytest.mark.parametrize("text", ["COMMIT;", "COPY t FROM stdin;\n\\.\n"])
def test_files_that_leave_the_transaction_name_truncation(
    text: str, tmp_path: Path, connection: sa.Connection
) -> None:
    (tmp_path / "a.sql").write_text(text)
    with pytest.raises(SettingsError, match='isolation="truncation"'):
        parse("a.sql", tmp_path)[0].run_in(connection)


@pytest.mark.parametrize("line", ["alembic: alembic.ini", "command: true"])
def test_programs_cannot_work_inside_a_transaction(
    line: str, tmp_path: Path, connection: sa.Connection
) -> None:
    with pytest.raises(SettingsError, match=r"cannot work inside(.|\n)*isolation=\"truncation\""):
        parse(line, tmp_path)[0].run_in(connection)


def test_a_metadata_without_tables_is_an_error(connection: sa.Connection) -> None:
    with pytest.raises(SchemaError, match=r"has no tables(.|\n)*imports all models"):
        parse(sa.MetaData(), Path("/"))[0].run_in(connection)


def test_nothing_heavy_is_imported_until_a_step_runs() -> None:
    program = (
        "import sys, pytest_berth.services.postgres.schema as schema, pathlib\n"
        "schema.parse(['a:b', 'a.sql', 'alembic: a.ini', 'command: a'], pathlib.Path())\n"
        "print({'sqlalchemy', 'psycopg', 'alembic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
