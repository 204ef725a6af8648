"""What a test leaves in sessions does not reach the next test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project

LEFT = """
import pytest
from sqlalchemy import Engine, event

LEAVING = (
    "SET @mine = 5",
    "SET SESSION sql_mode = ''",
    "SET SESSION time_zone = '+05:00'",
    "SET NAMES latin1",
    "DO GET_LOCK('held', 1)",
    "SET SESSION TRANSACTION READ ONLY",
)

@event.listens_for(Engine, "connect")
def set_up(connection, record):
    with connection.cursor() as cursor:
        cursor.execute("SET @set_up = 7")

def leave(connection):
    for statement in LEAVING:
        connection.exec_driver_sql(statement)

def expect_nothing(connection):
    asked = "@mine, @@sql_mode <> '', @@time_zone, @@character_set_client, @set_up"
    found = connection.exec_driver_sql(f"SELECT {asked}, IS_FREE_LOCK('held')").one()
    assert tuple(found) == (None, 1, "SYSTEM", "utf8mb4", 7, 1)
    connection.exec_driver_sql("INSERT INTO words VALUES ('own')")
    connection.exec_driver_sql("CREATE TEMPORARY TABLE staging (value int)")

@pytest.mark.parametrize("turn", range(2))
def test_rolled_back(mysql_connection, turn):
    expect_nothing(mysql_connection)
    leave(mysql_connection)

@pytest.mark.parametrize("turn", range(2))
@pytest.mark.parametrize("isolation", ["truncation", "none"])
def test_pool(mysql_engine, isolation, turn):
    with mysql_engine.begin() as connection:
        expect_nothing(connection)
        leave(connection)

@pytest.fixture(scope="module")
def owned(mysql_engine):
    with mysql_engine.connect() as connection:
        connection.exec_driver_sql("SET @mine = 6")
        yield connection

@pytest.mark.parametrize("turn", range(2))
def test_what_a_fixture_has_in_use_stays_its_own(mysql_engine, owned, turn):
    assert owned.exec_driver_sql("SELECT @mine").scalar() == 6
"""


def test_each_test_has_its_sessions_as_new(project: Project) -> None:
    """With what the application does with each new connection."""
    project.ini("berth_mysql_schema = schema.sql")
    (project.root / "schema.sql").write_text("CREATE TABLE words (word varchar(9));")
    project.write(
        test_it=LEFT,
        conftest="""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                isolation = item.callspec.params.get("isolation")
                if isolation:
                    item.add_marker(pytest.mark.berth_mysql(isolation=isolation))
        """,
    )
    project.run("-v").assert_outcomes(passed=8)
