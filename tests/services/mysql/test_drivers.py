"""What is seen of the drivers of MySQL: what they send, and where they connect to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.services.mysql import urls
from pytest_berth.services.mysql.service import MYSQL

if TYPE_CHECKING:
    from conftest import Project
    from pytest_berth.isolation.running_server import RunningServer


@pytest.fixture
def given(
    project: Project,
    local: None,
    mysql_server: RunningServer,
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """A project that is given the server of the suite's own run."""
    server = pytestconfig.stash[PLUGIN_STATE].manager.server(MYSQL)
    monkeypatch.setenv("BERTH_MYSQL_URL", urls.url(server, "", ""))
    monkeypatch.setenv("BERTH_SOURCE", "external")
    return project


def test_what_drivers_send_and_where_they_connect_to_is_seen(given: Project) -> None:
    """PyMySQL by itself, and by SQLAlchemy; a database that is not the run's is foreign."""
    given.ini("berth_mysql_schema = schema.sql", "berth_foreign = fail")
    (given.root / "schema.sql").write_text("CREATE TABLE notes (id int, title varchar(9))")
    given.write(
        test_it="""
        import pymysql
        from sqlalchemy import make_url, text

        def connect(url, database):
            url = make_url(url)
            return pymysql.connect(
                host=url.host, port=url.port, user=url.username, password=url.password,
                database=database)

        def test_sent(mysql_url, mysql_engine):
            with connect(mysql_url, make_url(mysql_url).database) as connection:
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO notes (id) VALUES (%s)", (7,))
                    cursor.executemany("UPDATE notes SET id = %s", [(8,), (9,)])
                connection.commit()
            with mysql_engine.begin() as connection:
                insert = text("INSERT INTO notes (id) VALUES (:id)")
                connection.execute(insert, [{"id": 1}, {"id": 2}])
            assert False

        def test_foreign(mysql_url):
            connect(mysql_url, "mysql")
        """
    )
    result = given.run("-v")
    result.assert_outcomes(failed=2)
    told = result.stdout
    told.fnmatch_lines(
        [
            "* 1 row  test_it.py:13  INSERT INTO notes (id) VALUES (%s)  [[]7]",
            "* 1 row  test_it.py:14  UPDATE notes SET id = %s  [[]8]",
            "* 1 row  test_it.py:14  UPDATE notes SET id = %s  [[]9]",
            "* 2 rows  test_it.py:18  INSERT INTO notes (id) VALUES (%(id)s)*",
            "notes: 3 added",
        ]
    )
    told.fnmatch_lines(
        ["*the application connects to a server that is not of this run: mysql at *'mysql'.*"]
    )
