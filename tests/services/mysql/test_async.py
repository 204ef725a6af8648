"""The fixtures for asyncio: in any event loop, with real commits that are put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project


def test_each_test_has_its_own_event_loop(project: Project) -> None:
    """What is left open in a loop that is gone holds nobody up."""
    project.plugins = ("asyncio",)
    project.ini(
        "berth_mysql_schema = schema.sql",
        "asyncio_mode = auto",
        "asyncio_default_fixture_loop_scope = function",
        "filterwarnings = error",
    )
    (project.root / "schema.sql").write_text("CREATE TABLE notes (id int AUTO_INCREMENT KEY)")
    project.write(
        test_it="""
        import pytest
        from sqlalchemy import text

        INSERT, COUNT = text("INSERT INTO notes VALUES ()"), text("SELECT COUNT(*) FROM notes")

        @pytest.mark.parametrize("number", range(3))
        async def test_session(mysql_async_session, mysql_engine, number):
            await mysql_async_session.execute(INSERT)
            await mysql_async_session.commit()
            with mysql_engine.connect() as connection:
                assert connection.scalar(COUNT) == 1
            await mysql_async_session.execute(INSERT)  # left open

        async def test_connection(mysql_async_connection, mysql_async_engine):
            await mysql_async_connection.execute(INSERT)
            await mysql_async_connection.commit()
            async with mysql_async_engine.connect() as other:
                assert await other.scalar(COUNT) == 1

        def test_dsn(mysql_dsn, mysql_url):
            assert mysql_dsn == mysql_url.replace("+pymysql", "")

        @pytest.mark.berth_mysql(isolation="rollback")
        def test_rolled_back(mysql_connection, mysql_engine):
            with mysql_engine.begin() as connection:
                connection.execute(INSERT)

        def test_after_it(mysql_connection):
            assert mysql_connection.scalar(COUNT) == 0
        """
    )
    result = project.run("-v")
    result.assert_outcomes(passed=7)
