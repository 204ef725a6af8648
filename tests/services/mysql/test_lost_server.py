"""A server that is lost: what fixtures of a wider scope wrote is there on the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project

# A column of each kind that a value could come back from as another one.
SCHEMA = """
CREATE TABLE kinds (
  id int AUTO_INCREMENT PRIMARY KEY, f float, d double, n decimal(20, 8), b blob, e enum('a', 'b'),
  s set('x', 'y'), t time(6), ts timestamp(6) NULL, bits bit(10), j json, g geometry, l varchar(9)
  CHARACTER SET latin1, u varchar(9), twice double AS (d * 2)
);
CREATE TABLE untouched (id int PRIMARY KEY);
"""
VALUES = """
(0.1, 1e308 / 3, 12345678901.12345678, x'00ff27', 'b', 'x,y', '-100:00:00.5',
 '2020-02-29 12:00:00.123456', b'1000000001', '{"a": "\\'"}', ST_GeomFromText('POINT(1 2)'),
 'é''', '\U0001f600'), (DEFAULT, NULL, -0.5, '', NULL, '', NULL, NULL, NULL, NULL, NULL, '', NULL)
"""


def test_what_fixtures_wrote_is_on_the_server_in_the_place_of_a_lost_one(project: Project) -> None:
    """With each value as it was; tests go on from there, and get it back after each."""
    project.ini("berth_mysql_schema = schema.sql")
    (project.root / "schema.sql").write_text(SCHEMA)
    project.write(
        values=f"VALUES = {VALUES!r}",
        test_it="""
        import os, signal
        import pytest
        from values import VALUES
        from pytest_berth.run.plugin_state import PLUGIN_STATE

        ROWS = "SELECT *, HEX(g), f + 0e0, HEX(l), HEX(u) FROM kinds ORDER BY id"
        NAMES = "f, d, n, b, e, s, t, ts, bits, j, g, l, u"

        def rows(engine):
            with engine.connect() as connection:
                return connection.exec_driver_sql(ROWS).all()

        @pytest.fixture(scope="module")
        def written(mysql_engine):
            with mysql_engine.begin() as connection:
                connection.exec_driver_sql(f"INSERT INTO kinds ({NAMES}) VALUES {VALUES}")
            yield rows(mysql_engine)

        def kill(config):
            manager = config.stash[PLUGIN_STATE].manager
            (server,) = [each for each in manager.servers if each.service == "mysql"]
            manager.source(server).kill(server)

        def test_first(mysql_engine, written, pytestconfig):
            assert len(written) == 2
            with mysql_engine.begin() as connection:
                connection.exec_driver_sql("DELETE FROM kinds")
            kill(pytestconfig)

        def test_second(mysql_engine, written):
            assert rows(mysql_engine) == written
            with mysql_engine.begin() as connection:
                connection.exec_driver_sql("UPDATE kinds SET f = 7")

        def test_third(mysql_engine, written):
            assert rows(mysql_engine) == written
        """,
        test_after_it="""
        def test_after_the_module(mysql_engine):
            with mysql_engine.begin() as connection:
                assert connection.exec_driver_sql("SELECT * FROM kinds").all() == []
                connection.exec_driver_sql("INSERT INTO kinds (f) VALUES (1)")
                assert connection.exec_driver_sql("SELECT id FROM kinds").scalar() == 1
        """,
    )
    result = project.run("-v", "test_it.py", "test_after_it.py")
    result.assert_outcomes(passed=4, errors=1)


def test_what_fixtures_write_after_a_server_was_lost_is_put_back_like_what_they_wrote_before(
    project: Project,
) -> None:
    """Rows are copied on the new server, beside the copies of what was on the lost one."""
    project.ini("berth_mysql_schema = schema.sql")
    (project.root / "schema.sql").write_text("CREATE TABLE words (word varchar(9) PRIMARY KEY);")
    project.write(
        test_it="""
        import pytest
        from pytest_berth.run.plugin_state import PLUGIN_STATE

        def write(engine, word):
            with engine.begin() as connection:
                connection.exec_driver_sql(f"INSERT INTO words VALUES ('{word}')")

        def words(engine):
            with engine.connect() as connection:
                return [word for (word,) in connection.exec_driver_sql("SELECT * FROM words")]

        @pytest.fixture(scope="module")
        def before(mysql_engine):
            write(mysql_engine, "before")

        @pytest.fixture(scope="module")
        def later(mysql_engine, before):
            write(mysql_engine, "later")

        def test_first(mysql_engine, before, pytestconfig):
            manager = pytestconfig.stash[PLUGIN_STATE].manager
            (server,) = [each for each in manager.servers if each.service == "mysql"]
            manager.source(server).kill(server)

        def test_second(mysql_engine, later):
            write(mysql_engine, "own")
            assert words(mysql_engine) == ["before", "later", "own"]

        def test_third(mysql_engine, later):
            assert words(mysql_engine) == ["before", "later"]
        """,
    )
    project.run("-v").assert_outcomes(passed=3, errors=1)
