"""SQL files that are sent whole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from pytest_berth.errors import SchemaError
from pytest_berth.services.postgres.schema import parse

if TYPE_CHECKING:
    from .conftest import Project


def test_a_glob_is_sent_in_sorted_order(project: Project) -> None:
    project.write("sql/2.sql", "INSERT INTO log VALUES ('a;b'), ($$c;d$$);")
    project.write("sql/1.sql", "CREATE TABLE log (text text);\nINSERT INTO log VALUES ('1 %s');")
    project.run("sql/*.sql")
    assert project.query("SELECT text FROM log") == [("1 %s",), ("a;b",), ("c;d",)]


def test_functions_with_semicolons_are_not_split(project: Project) -> None:
    project.write(
        "a.sql",
        """
        CREATE TABLE t (id int);
        CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS $f$
        BEGIN NEW.id := NEW.id + 1; RETURN NEW; END $f$;
        CREATE TRIGGER bump BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION bump();
        INSERT INTO t VALUES (1);
        """,
    )
    project.run(project.root / "a.sql")
    assert project.query("SELECT id FROM t") == [(2,)]


@pytest.mark.parametrize(
    "statement",
    ["CREATE INDEX CONCURRENTLY i ON t (id)", "VACUUM t", "BEGIN; DROP TABLE t; COMMIT"],
)
def test_what_cannot_be_in_a_transaction_works_alone(project: Project, statement: str) -> None:
    project.write("1.sql", "CREATE TABLE t (id int)")
    project.write("2.sql", statement)
    project.run(["1.sql", "2.sql"])


def test_what_cannot_be_in_a_transaction_says_so(project: Project) -> None:
    project.write("a.sql", "CREATE TABLE t (id int);\n\nVACUUM t;\n")
    message = project.failure("a.sql")
    assert "a.sql:3 failed: VACUUM cannot" in message
    assert "3 | VACUUM t;" in message
    assert "put this one into a file of its own" in message


def test_a_syntax_error_names_file_and_line_and_nothing_remains(project: Project) -> None:
    project.write("sql/a.sql", "-- é ü\nCREATE TABLE t (id int);\nSELECT 'é' FROM WHERE t;\n")
    message = project.failure("sql/*.sql")
    assert message.startswith('sql/a.sql:3 failed: syntax error at or near "WHERE"')
    assert "why: 3 | SELECT 'é' FROM WHERE t;" in message
    assert project.tables() == []


def test_an_error_without_a_position_names_the_line_of_its_statement(project: Project) -> None:
    project.write(
        "a.sql",
        "CREATE TABLE t (id int PRIMARY KEY);\n-- one\nINSERT INTO t\nVALUES (1);;\n\n"
        "/* two */ INSERT INTO t\nVALUES (1);\nSELECT 1;\n",
    )
    message = project.failure("a.sql")
    assert message.startswith("a.sql:6 failed: duplicate key value")
    assert "6 | /* two */ INSERT INTO t" in message
    assert "DETAIL: Key (id)=(1) already exists." in message


def test_the_hint_and_context_of_the_server_are_shown(project: Project) -> None:
    project.write("a.sql", "DO $$ BEGIN RAISE 'no' USING HINT = 'try again'; END $$;")
    message = project.failure("a.sql")
    assert "HINT: try again" in message
    assert "CONTEXT: PL/pgSQL function inline_code_block line 1 at RAISE" in message


def test_a_transaction_left_open_is_an_error(project: Project) -> None:
    project.write("a.sql", "BEGIN;\nCREATE TABLE t ();\n")
    assert "leaves a transaction open" in project.failure("a.sql")
    assert project.tables() == []


def test_an_empty_file_is_fine(project: Project) -> None:
    project.write("a.sql", "-- nothing yet\n")
    project.run("a.sql")


def test_a_file_inside_a_transaction_is_rolled_back_with_it(
    project: Project, connection: sa.Connection
) -> None:
    project.write("a.sql", "CREATE TABLE t (id int); INSERT INTO t VALUES (1); SELECT '%s';")
    (step,) = parse("a.sql", project.root)
    for _ in range(8):
        with connection.begin_nested() as savepoint:
            step.run_in(connection)
            assert connection.exec_driver_sql("SELECT id FROM t").scalars().all() == [1]
            savepoint.rollback()
    step.run_in(connection)
    connection.rollback()
    assert project.tables() == []


def test_a_file_that_is_the_first_statement_of_a_transaction_is_rolled_back(
    project: Project, connection: sa.Connection
) -> None:
    project.write("a.sql", "CREATE TABLE t (id int)")
    parse("a.sql", project.root)[0].run_in(connection)
    connection.rollback()
    assert project.tables() == []


def test_an_error_inside_a_transaction_names_file_and_line(
    project: Project, connection: sa.Connection
) -> None:
    project.write("a.sql", "SELECT 1;\nSELECT missing;\n")
    with pytest.raises(SchemaError, match=r'a\.sql:2 failed: column "missing" does not exist'):
        parse("a.sql", project.root)[0].run_in(connection)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "SET LOCAL search_path = pg_temp",
        "SELECT 1; set  session search_path to pg_temp; SELECT 1",
        "SET SCHEMA 'pg_temp'; SET TIME ZONE 'UTC'",
        "  SET my.tenant = 'first'; SELECT set_config( 'my.tenant', 'second', false)",
        "UPDATE of_columns SET server_version = '1'; UPDATE of_columns SET col = '1'",
    ],
)
def test_a_file_inside_a_transaction_leaves_settings_as_they_were(
    project: Project, connection: sa.Connection, text: str
) -> None:
    project.write("a.sql", f"CREATE TEMP TABLE of_columns (server_version text, col text); {text}")
    connection.exec_driver_sql("SET LOCAL timezone = 'Asia/Tokyo'")
    parse("a.sql", project.root)[0].run_in(connection)
    now = connection.exec_driver_sql(
        "SELECT current_setting('search_path'), current_setting('timezone'),"
        " current_setting('my.tenant', true)"
    )
    path, zone, tenant = now.one()
    assert (path, zone, tenant or "") == ('"$user", public', "Asia/Tokyo", "")


def test_a_database_that_is_not_there_is_an_error_of_the_schema(project: Project) -> None:
    project.write("a.sql", "SELECT 1")
    gone = {"dsn": f"{project.target.dsn}_gone", "url": f"{project.target.url}_gone"}
    other = replace(project, target=replace(project.target, **gone))
    assert "a.sql could not be sent: no connection" in other.failure("a.sql")
    assert "does not exist" in other.failure(lambda connection: None)


def test_other_drivers_send_files_inside_a_transaction(project: Project) -> None:
    pytest.importorskip("psycopg2")
    project.write("a.sql", "CREATE TABLE t (id int);\nSELECT '%s';")
    project.write("b.sql", "SELECT 1;\nSELECT missing;\n")
    url = project.target.url.replace("+psycopg:", "+psycopg2:")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        parse("a.sql", project.root)[0].run_in(connection)
        with pytest.raises(SchemaError, match=r'b\.sql:2 failed: column "missing"'):
            parse("b.sql", project.root)[0].run_in(connection)
    assert project.tables() == []
