"""What a test changes beside its database, and what its marker has written into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project


def test_users_databases_and_variables_of_a_test_are_gone_and_its_seed_too(
    project: Project,
) -> None:
    """Those of a fixture of a wider scope stay; what is not to be had back is told."""
    project.ini("berth_mysql_schema = schema.sql")
    (project.root / "schema.sql").write_text("CREATE TABLE notes (id int AUTO_INCREMENT KEY)")
    (project.root / "more.sql").write_text(
        "INSERT INTO notes VALUES (); INSERT INTO notes VALUES ()"
    )
    project.write(
        test_it="""
        import pytest
        from sqlalchemy import text

        def do(engine, *statements):
            with engine.begin() as connection:
                for statement in statements:
                    connection.exec_driver_sql(statement)

        def there(engine):
            with engine.connect() as connection:
                return (
                    {name for (name,) in connection.exec_driver_sql("SHOW DATABASES")},
                    {user for (user,) in connection.exec_driver_sql("SELECT user FROM mysql.user")},
                    connection.exec_driver_sql("SELECT @@GLOBAL.long_query_time").scalar(),
                )

        @pytest.fixture(scope="module")
        def wide(mysql_engine):
            do(mysql_engine, "CREATE DATABASE of_fixture", "SET GLOBAL long_query_time = 7")
            return there(mysql_engine)

        def test_first(mysql_engine, wide):
            do(mysql_engine, "CREATE DATABASE `of-test`", "CREATE USER 'of test'@'%%'",
               "CREATE ROLE of_test", "GRANT SELECT ON *.* TO 'of test'@'%%'",
               "SET GLOBAL long_query_time = 9")
            assert there(mysql_engine) != wide

        def test_second(mysql_engine, wide):
            assert there(mysql_engine) == wide
            do(mysql_engine, "DROP DATABASE of_fixture")

        COUNT = text("SELECT COUNT(*) FROM notes")

        @pytest.mark.berth_mysql(seed="more.sql")
        def test_seeded(mysql_session):
            assert mysql_session.scalar(COUNT) == 2

        @pytest.mark.berth_mysql(seed=["more.sql", "more.sql"], isolation="rollback")
        def test_rolled_back(mysql_session):
            assert mysql_session.scalar(COUNT) == 4

        def test_after_it(mysql_session):
            assert mysql_session.scalar(COUNT) == 0
        """
    )
    result = project.run("-v")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines_random(
        ["*test_it.py::test_second has left on the server what could not be taken back*of_fixture*"]
    )
