"""Dumps, with COPY and with INSERT, with psql and without."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from pytest_berth.services.postgres.schema import parse

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from .conftest import Postgres, Project

DUMPED = r"""
CREATE TABLE t (id int PRIMARY KEY, text text, raw bytea);
INSERT INTO t VALUES
  (1, E'a;\\b''\u00e9', '\\x005c2e'),
  (2, E'\\\\.\n\\.\n\ttab\r\n', ''), (3, NULL, NULL), (4, '', ''),
  (5, repeat(E'\\\t\n\u20ac', 100000), NULL);
CREATE TABLE empty (a int);
CREATE SCHEMA billing;
COMMENT ON SCHEMA billing IS E'COPY t FROM stdin;\n1\n\\.\n';
CREATE TYPE billing.kind AS ENUM ('a', E'b\'\\');
CREATE DOMAIN billing.amount AS numeric CHECK (VALUE >= 0);
CREATE TABLE billing.invoices (
  id bigint GENERATED ALWAYS AS IDENTITY (START 10) PRIMARY KEY,
  "Amount" billing.amount NOT NULL DEFAULT 1,
  twice numeric GENERATED ALWAYS AS ("Amount" * 2) STORED,
  kind billing.kind[] DEFAULT '{a}',
  t int REFERENCES public.t DEFERRABLE INITIALLY DEFERRED
) PARTITION BY RANGE (id);
CREATE TABLE billing.first PARTITION OF billing.invoices FOR VALUES FROM (1) TO (1000);
INSERT INTO billing.invoices ("Amount", t) VALUES (3, 1), (4, 2);
CREATE SEQUENCE billing.numbers START 7 INCREMENT 3;
SELECT nextval('billing.numbers');
CREATE FUNCTION billing.later() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  COPY t FROM stdin; -- \.
  RETURN NEW;
END $body$;
CREATE FUNCTION billing.sum(a int, b int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a + b; END;
CREATE TRIGGER later BEFORE UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION billing.later();
CREATE VIEW billing.open AS SELECT id, '\' AS backslash FROM billing.invoices;
CREATE MATERIALIZED VIEW billing.totals AS SELECT sum(twice) FROM billing.invoices;
CREATE UNIQUE INDEX lower_text ON t (lower(text)) WHERE id < 5;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON t USING (text <> 'it''s');
GRANT SELECT ON t TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA billing GRANT SELECT ON TABLES TO PUBLIC;
CREATE PUBLICATION changes FOR TABLE t WHERE (id > 1);
SELECT lo_create(12345);
DO $$ BEGIN CREATE EXTENSION citext; EXCEPTION WHEN OTHERS THEN NULL; END $$;
"""
DROPPED = """
DROP PUBLICATION changes;
DROP SCHEMA billing CASCADE;
DROP TABLE t, empty;
DROP EXTENSION IF EXISTS citext;
SELECT lo_unlink(12345);
"""


def dump(postgres: Postgres, project: Project, *options: str) -> str:
    """Fill the target, dump it to ``dump.sql``, and empty it again; return the dump."""
    program = postgres.binaries / "pg_dump"
    if not program.exists():
        pytest.skip(f"no pg_dump of the server's version in {program.parent}")
    project.write("fill.sql", DUMPED)
    project.run("fill.sql")
    made = dumped(program, project, *options)
    (project.root / "dump.sql").write_text(made)
    project.write("drop.sql", DROPPED)
    project.run("drop.sql")
    return made


def dumped(program: Path, project: Project, *options: str) -> str:
    """Return a dump of the target, with the same guard each time."""
    command = [str(program), *options]
    environment = project.target.variables()
    done = subprocess.run(command, check=True, env=environment, capture_output=True)
    return re.sub(r"restrict \w+", "restrict key", done.stdout.decode())


@pytest.mark.parametrize("options", [[], ["--inserts"]])
def test_a_dump_is_restored_without_psql_as_it_was_made(
    postgres: Postgres, project: Project, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    made = dump(postgres, project, *options)
    assert "\\restrict" in made
    assert made.count("a;\\") == 1
    monkeypatch.setenv("PATH", str(project.root))
    monkeypatch.setattr("pytest_berth.services.postgres.schema.psql.PLACES", ())
    project.run("dump.sql")
    assert dumped(postgres.binaries / "pg_dump", project, *options) == made


def test_a_dump_is_restored_inside_a_transaction_whose_settings_stay(
    postgres: Postgres, project: Project, connection: sa.Connection
) -> None:
    dump(postgres, project, "--no-blobs")
    connection.exec_driver_sql("SET LOCAL search_path = public, pg_temp")
    (step,) = parse("dump.sql", project.root)
    step.run_in(connection)
    found = connection.exec_driver_sql(
        "SELECT count(*), current_setting('search_path'), current_setting('row_security'),"
        " current_setting('check_function_bodies') FROM t"
    )
    assert found.one() == (5, "public, pg_temp", "on", "on")
    connection.rollback()
    assert project.tables() == []
    assert step.fingerprint()


def test_an_error_in_a_dump_names_file_and_line(project: Project) -> None:
    project.write("d.sql", "CREATE TABLE t (id int);\nCOPY t (id) FROM stdin;\n1\nx\n\\.\n")
    message = project.failure("d.sql")
    assert message.startswith("d.sql:4 failed: invalid input syntax for type integer")
    assert "4 | x" in message
    assert "COPY t, line 2, column id" in message
    project.write("e.sql", "CREATE TABLE t (id int);\nCOPY t FROM stdin;\n1\n\\.\n\nSELECT 1/0;\n")
    assert project.failure("e.sql").startswith("e.sql:6 failed: division by zero")
    project.write("f.sql", "CREATE TABLE t (id int);\nCOPY u FROM stdin;\n1\n\\.\n")
    assert project.failure("f.sql").startswith('f.sql:2 failed: relation "u" does not exist')
    assert project.tables() == []


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
