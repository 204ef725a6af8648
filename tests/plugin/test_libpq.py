"""A user's variables of libpq neither break nor colour a server that berth has started."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project

TESTS = """
    import psycopg
    import psycopg2
    from sqlalchemy import text

    NAMES = ("TimeZone", "DateStyle", "search_path")
    SHOWN = "SELECT " + ", ".join(f"current_setting('{name}')" for name in NAMES)
    COLOURED = {"Asia/Tokyo", "German", "nowhere"}

    def require_plain(row):
        assert not COLOURED & {word for value in row for word in value.replace(",", " ").split()}

    def test_the_fixtures(pg_engine, pg_session, pg_database):
        require_plain(pg_session.execute(text(SHOWN)).one())
        for engine in (pg_engine, pg_database.engine):
            with engine.begin() as connection:
                require_plain(connection.execute(text(SHOWN)).one())
                connection.execute(text("CREATE TABLE made_by_test (n int)"))

    def test_drivers(pg_dsn):
        for connect in (psycopg.connect, psycopg2.connect):
            connection = connect(pg_dsn)
            cursor = connection.cursor()
            cursor.execute(SHOWN)
            require_plain(cursor.fetchone())
            connection.close()
"""
# Each breaks or colours connections on its own.
VARIABLES = {
    "PGSSLMODE": "verify-full",
    "PGHOSTADDR": "127.0.0.9",
    "PGSERVICE": "production",
    "PGOPTIONS": "-c search_path=nowhere -c default_transaction_read_only=on",
    "PGREQUIREAUTH": "none",
    "PGCHANNELBINDING": "require",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCLIENTENCODING": "SQL_ASCII",
    "PGTZ": "Asia/Tokyo",
    "PGDATESTYLE": "German",
    "PGPASSWORD": "wrong",
    "PGDATABASE": "other",
}


def test_variables_of_libpq_do_not_reach_our_own_server(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.write(test_it=TESTS)
    (project.root / "schema.sql").write_text("CREATE TABLE made (n int)")
    (project.root / "services").write_text(
        "[production]\nhost=127.0.0.1\nport=1\nhostaddr=127.0.0.9\ndbname=production\n"
    )
    project.ini("berth_source = local", "berth_pg_schema = schema.sql", "berth_start_timeout = 60")
    services = str(project.root / "services")
    result = project.run(**VARIABLES, PGSERVICEFILE=services)
    result.assert_outcomes(passed=2)
