"""Dumps, with COPY and with INSERT, with psql and without."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from pytest_berth.services.postgres.schema import parse

if TYPE_CHECKING:
    from .conftest import Postgres, Project

DUMPED = "CREATE TABLE t (id int PRIMARY KEY, text text); INSERT INTO t VALUES (1, 'a;\\b''é')"


def dump(postgres: Postgres, project: Project, *options: str) -> None:
    """Fill the target, dump it to ``dump.sql``, and empty it again."""
    program = postgres.binaries / "pg_dump"
    if not program.exists():
        pytest.skip(f"no pg_dump of the server's version in {program.parent}")
    project.write("fill.sql", DUMPED)
    project.run("fill.sql")
    command = [str(program), "-f", str(project.root / "dump.sql"), *options]
    subprocess.run(command, check=True, env=project.target.variables())
    project.write("drop.sql", "DROP TABLE t")
    project.run("drop.sql")


@pytest.mark.parametrize("options", [[], ["--inserts"]])
def test_a_dump_is_restored(postgres: Postgres, project: Project, options: list[str]) -> None:
    dump(postgres, project, *options)
    project.run("dump.sql")
    assert project.query("SELECT * FROM t") == [(1, "a;\\b'é")]


def test_a_dump_with_inserts_needs_no_psql(
    postgres: Postgres, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump(postgres, project, "--inserts")
    assert "\\restrict" in (project.root / "dump.sql").read_text()
    monkeypatch.setenv("PATH", str(project.root))
    monkeypatch.setattr("pytest_berth.services.postgres.schema.psql.PLACES", ())
    project.run("dump.sql")
    assert project.tables() == ["t"]


def test_an_error_in_a_dump_names_file_and_line(project: Project) -> None:
    project.write("d.sql", "CREATE TABLE t (id int);\nCOPY t (id) FROM stdin;\n1\nx\n\\.\n")
    message = project.failure("d.sql")
    assert message.startswith("d.sql:5 failed: invalid input syntax for type integer")
    assert "5 | \\." in message
    assert "COPY t, line 2, column id" in message


def test_a_role_that_a_dump_needs_names_the_remedy(project: Project) -> None:
    owner = "CREATE TABLE t ();\nALTER TABLE t OWNER TO somebody;\n"
    project.write("a.sql", owner)
    project.write("b.sql", f"\\set a b\n{owner}")
    for name in ("a.sql", "b.sql"):
        assert "--no-owner --no-privileges" in project.failure(name)


def test_psql_is_told_the_password_by_the_environment_only(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = project.root / "psql"
    program.write_text('#!/bin/sh\necho "$@" "$PGPASSWORD" > told\nexit 0\n')
    program.chmod(0o755)
    project.write("a.sql", "\\echo a\n")
    monkeypatch.setenv("PATH", f"{project.root}{os.pathsep}{os.environ['PATH']}")
    alone = replace(project.target, environment={})
    parse("a.sql", project.root)[0].run(alone)
    told = (project.root / "told").read_text().strip()
    (password,) = project.target.secrets
    assert told.endswith(f" {password}")
    assert told.count(password) == 1
    assert quote(password, safe="") not in told
