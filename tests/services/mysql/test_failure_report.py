"""What the report of a failing test tells of MySQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project

SCHEMA = """
CREATE TABLE users (
  id int AUTO_INCREMENT PRIMARY KEY, email varchar(50), tenant int, password varchar(20),
  UNIQUE KEY by_email (tenant, email)
);
CREATE TABLE orders (
  id int AUTO_INCREMENT PRIMARY KEY, user_id int NOT NULL REFERENCES users (id),
  FOREIGN KEY (user_id) REFERENCES users (id)
);
CREATE TABLE tokens (value varchar(20), UNIQUE KEY by_token (value));
INSERT INTO users (email, tenant, password) VALUES ('anna', 1, 'hidden'), ('bert', 1, 'x');
"""


def test_a_report_tells_what_a_test_did_and_changed_and_what_was_in_its_way(
    project: Project,
) -> None:
    """By whichever isolation; a password is in none of it."""
    project.ini("berth_mysql_schema = schema.sql")
    (project.root / "schema.sql").write_text(SCHEMA)
    project.write(
        test_it="""
        from sqlalchemy import text

        def test_rolled_back(mysql_session):
            mysql_session.execute(text("INSERT INTO users (email, tenant) VALUES ('carl', 2)"))
            mysql_session.execute(text("UPDATE users SET email = 'Anna' WHERE id = 1"))
            mysql_session.execute(text("DELETE FROM users WHERE id = :id"), {"id": 2})
            mysql_session.commit()
            assert False

        def test_duplicate(mysql_session):
            insert = "INSERT INTO users (email, tenant, password) VALUES (:email, 1, 'y')"
            mysql_session.execute(text(insert), {"email": "anna"})

        def test_secret(mysql_connection):
            for _ in range(2):
                mysql_connection.exec_driver_sql("INSERT INTO tokens VALUES ('a-hidden-one')")

        def test_parent(mysql_session):
            mysql_session.execute(text("INSERT INTO orders (user_id) VALUES (7)"))

        def test_table(mysql_connection):
            mysql_connection.exec_driver_sql("SELECT * FROM oders")

        def test_column(mysql_connection):
            mysql_connection.exec_driver_sql("SELECT emial FROM users")

        def test_committed(mysql_engine):
            connection = mysql_engine.connect()
            connection.exec_driver_sql("INSERT INTO users (email) VALUES ('open')")
            with mysql_engine.begin() as other:
                other.exec_driver_sql("INSERT INTO users (email, tenant) VALUES ('dora', 3)")
                other.exec_driver_sql("CREATE TABLE more (id int)")
            assert False
        """
    )
    result = project.run("-v")
    result.assert_outcomes(failed=7)
    told = result.stdout
    told.fnmatch_lines_random(
        [
            "*test_it.py:4 * INSERT INTO users (email, tenant) VALUES ('carl', 2)*",
            "*test_it.py:6 *DELETE FROM users WHERE id = %(id)s  [[]id=2]",
            "users: 1 added, 1 changed, 1 deleted",
            "  + id=3, email='carl', tenant=2, password=NULL",
            "  ~ id=1: email 'anna' -> 'Anna'",
            "  - id=2, email='bert', tenant=1, password=[*][*][*]",
            "unique: by_email on users (tenant, email)",
            "in the way: id=1, email='anna', tenant=1, password=[*][*][*] (there before the test)",
            "user_id refers to a row of users, which has id=1; id=2",
            "nearest tables: orders*",
            "nearest columns: email",
            "connection *: a transaction is open for * s, 1 rows written, *",
            "  + id=*, email='dora', tenant=3, password=NULL",
            "schema: more",
            "mariadb --host=127.0.0.1 --port=* --protocol=TCP --user=root --password berth_*",
        ]
    )
    told.no_fnmatch_line("*'hidden'*")
    told.no_fnmatch_line("*Duplicate entry 'a-hidden-one'*")
