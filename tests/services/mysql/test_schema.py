"""Schema and seeds of MySQL: each kind of line, and what its errors tell."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Project

FIRST = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "0001", None, None, None
def upgrade():
    op.create_table("users", sa.Column("id", sa.Integer, primary_key=True))
def downgrade():
    op.drop_table("users")
"""
MODELS = """
import os
import pymysql
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True))
others = sa.MetaData()
sa.Table("others", others, sa.Column("id", sa.Integer, primary_key=True))

def by_sqlalchemy(connection):
    connection.exec_driver_sql("INSERT INTO others VALUES (1)")

def by_pymysql(connection: pymysql.connections.Connection):
    connection.cursor().execute("INSERT INTO others VALUES (2)")

def by_marker(connection):
    connection.exec_driver_sql("INSERT INTO others VALUES (4)")

def fails(connection):
    connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")
"""
PROGRAM = """
import os, sys
import pymysql

assert "MYSQL_UNIX_PORT" not in os.environ
if sys.argv[1:]:
    print("the password is", os.environ["MYSQL_PWD"])
    sys.exit(3)
with pymysql.connect(
    host=os.environ["MYSQL_HOST"],
    port=int(os.environ["MYSQL_TCP_PORT"]),
    user=os.environ["MYSQL_USER"],
    password=os.environ["MYSQL_PWD"],
    database=os.environ["MYSQL_DATABASE"],
    autocommit=True,
) as connection:
    assert os.environ["SHOP_URL"].startswith("mysql+pymysql://")
    assert os.environ["SHOP_URL"].endswith("_template")
    connection.cursor().execute("CREATE TABLE by_command (id int)")
"""
ELSEWHERE = """
from alembic import context
from sqlalchemy import create_engine
with create_engine("sqlite://").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
SQL = """\
CREATE TABLE by_file (id int);
DELIMITER //
CREATE TRIGGER counts BEFORE INSERT ON by_file FOR EACH ROW BEGIN SET NEW.id = 7; END//
DELIMITER ;
INSERT INTO by_file VALUES (1);
CREATE TABLE people (
  id int AUTO_INCREMENT PRIMARY KEY, name varchar(40) UNIQUE, active bool NOT NULL DEFAULT 1,
  about json, born date, `100% mixed` text, chief int, FOREIGN KEY (chief) REFERENCES people (id)
);
CREATE TABLE a_orders (
  id int AUTO_INCREMENT PRIMARY KEY, person int NOT NULL, raw varbinary(9), flag bit,
  FOREIGN KEY (person) REFERENCES people (id)
);
"""
ROWS = {
    "seed/a_orders.csv": "id,person,flag\n5,2,1\n",
    "seed/people.csv": "\ufeffid,name,active,about,born,100% mixed,chief\n"
    '0,"a, ""b""",true,"{""k"": 1}",2024-01-31,"%s\n\\n",2\n2,"",f,,,,\n',
    "rest.json": '{"a_orders": [{"person": 7}], "people": [{"id": 7, "about": {"k": [1]}}]}',
    "many.csv": "id\n" + "".join(f"{number}\n" for number in range(10, 1511)),
    "wrong/peopel.csv": "id\n",
    "wrong/a_orders.csv": "person\n9\n",
}


def test_all_kinds_of_lines_make_the_template_and_their_errors_tell_what_to_do(
    project: Project,
) -> None:
    alembics(project.root)
    (project.root / "schema.sql").write_text(SQL)
    for name, text in ROWS.items():
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(text)
    project.ini(
        "berth_mysql_schema =",
        "    alembic: alembic.ini",
        "    command in tools: python make.py",
        "    schema.sql",
        "    models:others",
        "berth_mysql_seed =",
        "    models:by_sqlalchemy",
        "    models:by_pymysql",
        "    seed/*.csv",
        "    rest.json",
        "berth_export = SHOP_URL = {mysql_url}",
    )
    project.write(
        test_lines="""
        import os
        import sys
        from datetime import date
        from pathlib import Path

        import pymysql
        import pytest
        from pytest_berth import schema
        from pytest_berth.errors import BerthError, SchemaError, SettingsError
        from pytest_berth.services.mysql import urls
        from pytest_berth.services.mysql.schema.dialect import MYSQL_DIALECT

        ROOT = Path(__file__).parent


        def names(connection, query):
            return sorted(value for (value,) in connection.exec_driver_sql(query))


        def test_all_of_it_is_there(mysql_connection):
            assert names(mysql_connection, "SHOW TABLES") == [
                "a_orders", "alembic_version", "by_command", "by_file", "others", "people", "users"
            ]
            assert names(mysql_connection, "SELECT id FROM others") == [1, 2]
            assert names(mysql_connection, "SELECT id FROM by_file") == [7]
            assert names(mysql_connection, "SELECT version_num FROM alembic_version") == ["0001"]


        @pytest.mark.berth_mysql(seed=["models:by_marker", "more.sql"])
        def test_a_marker_takes_the_same_lines(mysql_connection):
            assert names(mysql_connection, "SELECT id FROM others") == [1, 2, 3, 4]


        def test_rows_of_files_are_there(mysql_connection):
            ask = mysql_connection.exec_driver_sql
            names = "id, name, active, about, born, `100%% mixed`"
            found = ask(f"SELECT {names} FROM people ORDER BY id")
            assert [tuple(row) for row in found] == [
                (0, 'a, "b"', 1, '{"k": 1}', date(2024, 1, 31), "%s\\n\\\\n"),
                (2, "", 0, None, None, None),
                (7, None, 1, '{"k": [1]}', None, None),
            ]
            found = ask("SELECT id, person FROM a_orders ORDER BY id")
            assert [tuple(row) for row in found] == [(5, 2), (6, 7)]


        @pytest.mark.berth_mysql(
            seed=[
                {
                    "a_orders": [{"person": 30, "raw": b"\\0'"}, {"person": 30}],
                    "people": [{"id": 30, "name": "x", "born": date(2024, 2, 29)}],
                }
            ]
        )
        @pytest.mark.parametrize("run", "ab")
        def test_rows_of_a_marker_are_there_and_gone(mysql_connection, run):
            ask = mysql_connection.exec_driver_sql
            found = ask("SELECT id, raw FROM a_orders WHERE person = 30 ORDER BY id")
            assert [tuple(row) for row in found] == [(7, b"\\0'"), (8, None)]
            assert ask("SELECT born FROM people WHERE id = 30").scalar() == date(2024, 2, 29)


        @pytest.fixture
        def failure(mysql_url, mysql_dsn):
            server, database = urls.of_database(mysql_dsn)
            password = server.credentials.password
            target = schema.Target(
                url=mysql_url,
                dsn=mysql_dsn,
                environment=dict(urls.variables(server, database)),
                root=ROOT,
                secrets=(password,),
            )

            def of(line, check_drift=False):
                with pytest.raises(BerthError) as caught:
                    for step in schema.parse(line, ROOT, MYSQL_DIALECT, check_drift=check_drift):
                        step.check()
                        step.run(target)
                assert password not in str(caught.value)
                return str(caught.value)

            return of


        def test_errors_name_file_and_line(failure):
            Path("wrong.sql").write_text("SELECT 1;\\n-- the second\\nSELECT nothing;\\nSELECT 2;")
            assert "wrong.sql:3 failed: Unknown column 'nothing'" in failure("wrong.sql")
            assert "3 | SELECT nothing;" in failure("wrong.sql")
            text = "SELECT 1;\\nDELIMITER //\\nSELECT 1//\\nSELEC 2//\\nDELIMITER ;\\n"
            Path("wrong.sql").write_text(text)
            assert "wrong.sql:4 failed: You have an error in your SQL" in failure("wrong.sql")
            Path("wrong.sql").write_bytes("-- 1\\nSELECT 'é'".encode("latin-1"))
            assert "wrong.sql:2 is not UTF-8 text." in failure("wrong.sql")


        def test_errors_of_functions_and_programs_are_told_without_the_password(failure):
            told = failure("models:fails")
            assert "'models:fails' failed." in told
            assert "models.py" in told and "nowhere" in told
            told = failure("command in tools: python make.py 1")
            assert "ended with exit status 3" in told
            assert "the password is ***" in told
            assert "MYSQL_HOST, MYSQL_TCP_PORT, MYSQL_USER, MYSQL_PWD, MYSQL_DATABASE" in told
            assert "the program 'flywya' was not found" in failure("command: flywya migrate")
            assert "did you mean 'others'?" in failure("models:other")


        def test_rows_that_the_server_does_not_take_are_told_with_their_place(failure):
            told = failure("wrong/peopel.csv")
            assert "for the table 'peopel', which there is not." in told
            assert "did you mean 'people'?" in told
            told = failure("wrong/a_orders.csv")
            assert "wrong/a_orders.csv failed: a row refers to one that is not there." in told
            assert "person = 9 is in no row of 'people'" in told
            assert "seed the row that it refers to" in told
            Path("people.csv").write_text("idd\\n")
            assert "has the column 'idd', which 'people' has not." in failure("people.csv")
            Path("people.csv").write_text("id,name\\n1\\n")
            assert "people.csv:2 has 1 values for 2 columns." in failure("people.csv")
            Path("people.csv").write_bytes("name\\né\\n".encode("latin-1"))
            assert "people.csv:2 is not UTF-8 text." in failure("people.csv")
            lines = Path("many.csv").read_text()
            Path("people.csv").write_text(lines + "x\\n")
            assert "people.csv:1503 failed: " in failure("people.csv")


        def test_many_rows_are_sent_at_once(failure, mysql_connection):
            with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
                Path("people.csv").write_text(Path("many.csv").read_text())
                failure("people.csv")
            query = "SELECT count(*), max(id) FROM people"
            assert tuple(mysql_connection.exec_driver_sql(query).one()) == (1504, 1510)


        def test_migrations_that_go_elsewhere_or_differ_are_errors(failure):
            told = failure("alembic: alembic.ini", check_drift=True)
            assert "and the models differ." in told
            assert "berth_mysql_alembic_drift = ignore" in told
            Path("migrations/env.py").write_text(Path("elsewhere.py").read_text())
            told = failure("alembic: alembic.ini")
            assert "it connects to another one." in told
            assert "berth_export = DATABASE_URL = {mysql_url}" in told
        """,
    )
    result = project.run("-v")
    result.assert_outcomes(passed=10)


def test_a_wrong_line_ends_the_run_before_its_tests_and_fixtures_have_one_definition(
    project: Project,
) -> None:
    project.ini("berth_mysql_schema = schma.sql")
    (project.root / "schema.sql").write_text("CREATE TABLE t (id int)")
    project.write(test_it="def test_it(mysql_session): ...")
    result = project.run()
    result.stderr.fnmatch_lines(["*no file matches 'schma.sql'.*"])
    assert "did you mean 'schema.sql'" in result.stderr.str()
    assert "berth_mysql_schema, set by" in result.stderr.str()
    project.ini("berth_mysql_schema = schema.sql")
    (project.root / "part").mkdir()
    (project.root / "part" / "conftest.py").write_text(
        "import pytest\n@pytest.fixture(scope='session')\ndef mysql_schema(): return []\n"
    )
    (project.root / "part" / "test_part.py").write_text("def test_part(mysql_session): ...")
    result = project.run()
    assert "mysql_schema is overridden for some of the tests only." in result.stderr.str()


def alembics(root: Path) -> None:
    """Make an Alembic project as its own command does, with models and a migration."""
    (root / "tools").mkdir()
    (root / "tools" / "make.py").write_text(PROGRAM)
    (root / "models.py").write_text(MODELS)
    (root / "elsewhere.py").write_text(ELSEWHERE)
    (root / "more.sql").write_text("INSERT INTO others VALUES (3)")
    command = [sys.executable, "-m", "alembic", "-c", "alembic.ini", "init", "migrations"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (root / "migrations/versions/0001_first.py").write_text(FIRST)
    env = root / "migrations/env.py"
    given = env.read_text().replace(
        "target_metadata = None", "from models import others as target_metadata"
    )
    env.write_text(given)
