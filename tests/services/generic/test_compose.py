"""``berth_compose``: tests run on what the project's own Compose file says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

FILE = """
services:
  db:
    image: postgres:15-alpine
    ports: ["5432:5432"]
    environment:
      POSTGRES_USER: shop
      POSTGRES_PASSWORD: ${DB_PASSWORD:-shop-dev}
    command: postgres -c work_mem=8MB
    volumes: ["./init:/docker-entrypoint-initdb.d:ro", "data:/var/lib/postgresql/data"]
  mail:
    image: axllent/mailpit:v1.20
    ports: ["8025:8025", "1025:1025"]
    restart: always
    healthcheck: {test: [CMD, /mailpit, readyz]}
    x-berth: {reset: "DELETE,8025:/api/v1/messages"}
  unused:
    image: an/image:that-is-nowhere
    ports: ["1:1"]
  debug:
    image: an/image
    profiles: [debug]
volumes: {data: {}}
"""
SCHEMA = "CREATE TABLE users (id serial PRIMARY KEY, email text)"


@pytest.fixture
def shop(project: Project, require_image: None) -> Project:
    """A project with a Compose file, and a script that makes the database's tables."""
    pytest.importorskip("yaml")
    (project.root / "compose.yaml").write_text(FILE)
    (project.root / "init").mkdir()
    (project.root / "init" / "10-users.sql").write_text(SCHEMA)
    return project


def test_services_are_berths_own_or_of_any_image(shop: Project) -> None:
    (shop.root / "more.sql").write_text("INSERT INTO users (email) VALUES ('of the tests')")
    shop.ini(
        "berth_compose = compose.yaml",
        "berth_pg_schema = more.sql",
        "berth_pg_source = container",
        "berth_export = MAILS = {mail_url:8025}",
    )
    shop.write(
        test_it="""
            import os
            import psycopg
            import pytest

            @pytest.mark.parametrize("number", range(2))
            def test_database(pg_dsn, pg_server, number):
                assert pg_dsn.startswith("postgresql://shop:") and pg_dsn.endswith("/shop")
                assert (pg_server.version.split(".")[0], pg_server.port != 5432) == ("15", True)
                with psycopg.connect(pg_dsn) as connection:
                    asked = connection.execute("SELECT current_user, current_setting('work_mem')")
                    assert asked.fetchone() == ("shop", "8MB")
                    emails = connection.execute("SELECT email FROM users").fetchall()
                    assert emails == [("of the tests",)]
                    connection.execute("INSERT INTO users (email) VALUES ('of a test')")

            def test_mail(mail_server):
                assert os.environ["MAILS"] == mail_server.url(8025)
                assert mail_server.port not in (8025, 1025)
        """
    )
    result = shop.run()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "berth: *berth_pg_image = postgres:15-alpine (compose.yaml, service db)*",
            "berth: compose.yaml: db is postgres, mail is of any image, unused is of any image",
        ]
    )
    result.stdout.no_fnmatch_line("*shop-dev*")


def test_workers_have_a_database_of_that_name_each(shop: Project) -> None:
    shop.plugins = ("xdist", "xdist.looponfail")
    shop.ini("berth_compose = compose.yaml", "berth_pg_source = container")
    shop.write(
        test_it="""
            import psycopg
            import pytest

            @pytest.mark.parametrize("number", range(4))
            def test_it(pg_dsn, mail_server, number):
                with psycopg.connect(pg_dsn) as connection:
                    assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
                    connection.execute("INSERT INTO users (email) VALUES ('of a test')")
        """
    )
    shop.run("-n2").assert_outcomes(passed=4)


def test_a_server_that_is_given_by_url_has_names_of_its_own(
    shop: Project, outer_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_PG_URL", outer_url)
    shop.ini("berth_compose = compose.yaml")
    shop.write(
        test_it="""
            def test_it(pg_connection):
                import sqlalchemy
                count = sqlalchemy.text("SELECT count(*) FROM users")
                assert pg_connection.execute(count).scalar() == 0
        """
    )
    shop.run().assert_outcomes(passed=1)


def test_without_what_reads_yaml_the_run_ends(shop: Project) -> None:
    shop.ini("berth_compose = compose.yaml", "addopts = -p hidden")
    shop.write(hidden="import sys\nsys.modules['yaml'] = None", test_it="def test_it(): pass")
    result = shop.run(forked=False, PYTHONPATH=str(shop.root))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*berth_compose needs the package 'yaml', which is not installed.",
            '*pip install "pytest-berth[[]compose]"',
        ]
    )
    shop.ini("berth_compose = other.yaml")
    result = shop.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the Compose file other.yaml is not there."])
