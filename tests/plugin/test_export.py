"""``berth_export``: the application's environment, set before anything of it is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

NOWHERE = {"DOCKER_HOST": "tcp://127.0.0.1:1", "PATH": ""}


def refusal(result: pytest.RunResult) -> str:
    """Return the text of a usage error."""
    text = result.stderr.str() + result.stdout.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "Traceback" not in text
    return text


@pytest.fixture
def app(served: Project) -> Project:
    """A project whose application reads its settings when it is imported, by conftest."""
    served.models("berth_export =", "  DATABASE_URL = {pg_url}")
    served.write(
        application="""
            import os

            URL = os.environ["DATABASE_URL"]
        """,
        test_app="""
            import application
            from sqlalchemy import create_engine, text

            def test_app(pg_url):
                assert application.URL == pg_url
                engine = create_engine(application.URL)
                with engine.connect() as connection:
                    assert connection.scalar(text("SELECT count(*) FROM users")) == 0
                engine.dispose()

            def test_unit():
                assert "berth_" in application.URL
        """,
    )
    served.conftest("import application")
    return served


def test_it_is_set_before_conftest_is_imported(app: Project) -> None:
    app.run().assert_outcomes(passed=2)


def test_it_is_set_before_plugins_given_by_name_are_configured(app: Project) -> None:
    app.write(
        loader="""
            def pytest_configure(config):
                import application
        """
    )
    app.run("-p", "loader", PYTHONPATH=str(app.root)).assert_outcomes(passed=2)


def test_it_is_known_without_starting_a_server(app: Project) -> None:
    result = app.run("-k", "test_unit", "--berth-source=local")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.no_fnmatch_line("*ready in*")


def test_a_started_server_is_where_it_was_announced(app: Project) -> None:
    app.run("--berth-source=local").assert_outcomes(passed=2)


def test_each_worker_gets_its_own_database(app: Project) -> None:
    app.plugins = ("xdist",)
    app.write(
        test_workers="""
            import os
            import pytest

            @pytest.mark.parametrize("n", range(6))
            def test_it(pg_url, n):
                assert os.environ["DATABASE_URL"] == pg_url
                assert pg_url.endswith("_" + os.environ["PYTEST_XDIST_WORKER"])
        """
    )
    app.run("-n", "2").assert_outcomes(passed=8)


def test_all_placeholders_are_replaced(served: Project) -> None:
    served.models(
        "berth_export =",
        "  A_URL = {pg_url}",
        "  A_DRIVER = {pg_url:asyncpg}",
        "  A_PSYCOPG2 = {pg_url:psycopg2}",
        "  A_DSN = {pg_dsn}",
        "  A_TEXT = {pg_host}|{pg_port}|{pg_user}|{pg_password}|{pg_database}",
        "  A_PLAIN = {{as it is}} = 1",
    )
    served.write(
        test_it="""
            import os
            from sqlalchemy import NullPool, create_engine, make_url

            def test_it(pg_url, pg_dsn):
                url = make_url(pg_url)
                assert os.environ["A_URL"] == pg_url
                assert os.environ["A_DRIVER"] == pg_url.replace("+psycopg", "+asyncpg")
                assert os.environ["A_DSN"] == pg_dsn
                engine = create_engine(os.environ["A_PSYCOPG2"], poolclass=NullPool)
                with engine.connect() as connection:
                    assert connection.dialect.driver == "psycopg2"
                assert os.environ["A_TEXT"].split("|") == [
                    url.host, str(url.port), url.username, url.password, url.database
                ]
                assert os.environ["A_PLAIN"] == "{as it is} = 1"
        """
    )
    served.run().assert_outcomes(passed=1)


def test_an_unknown_placeholder_is_refused(served: Project) -> None:
    served.ini("berth_export = DATABASE_URL = {pg_ulr}")
    text = refusal(served.run())
    assert (
        "berth_export names an unknown placeholder {pg_ulr}.\n"
        "  why: 'DATABASE_URL = {pg_ulr}', set by pytest.ini\n"
        "  do:  did you mean 'pg_url'?"
    ) in text


def test_an_unknown_placeholder_is_refused_once_under_xdist(served: Project) -> None:
    served.plugins = ("xdist",)
    served.ini("berth_export = DATABASE_URL = {pg_ulr}")
    assert refusal(served.run("-n", "2")).count("unknown placeholder") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("DATABASE_URL", "berth_export has a line that is not NAME = text."),
        ("= {pg_url}", "berth_export has a line that is not NAME = text."),
        ("DATABASE_URL = {pg_url", "berth_export has a line with unbalanced braces."),
        ("DATABASE_URL = {}", "berth_export names an unknown placeholder {}."),
        ("DATABASE_URL = {pg_url.server}", "berth_export names an unknown placeholder"),
        ("A = ${pg_url}", "berth_export has a placeholder with a '$' before it."),
        ("A = {pg_port:d!}", "berth_export has a placeholder with a format that cannot be used."),
        ("A = {pg_host:d}", "berth_export has a placeholder with a format that cannot be used."),
    ],
)
def test_a_line_that_cannot_be_used_is_refused(served: Project, line: str, message: str) -> None:
    served.ini(f"berth_export = {line}")
    text = refusal(served.run())
    assert message in text
    assert "set by pytest.ini" in text


def test_a_variable_that_two_lines_set_is_refused(served: Project) -> None:
    served.ini("berth_export =", "  URL = {pg_url}", "  OTHER = {pg_host}", "  URL = {pg_dsn}")
    text = refusal(served.run())
    assert "berth_export sets URL twice." in text
    assert "'URL = {pg_url}' and 'URL = {pg_dsn}', set by pytest.ini" in text


def test_the_environment_is_as_before_after_a_run_in_this_process(
    app: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setenv("DATABASE_URL", "as before")
    app.models("berth_export =", "  DATABASE_URL = {pg_url}", "  ANOTHER = {pg_host}")
    app.pytester.inline_run(*app.arguments("-k", "test_unit")).assertoutcome(passed=1)
    assert os.environ["DATABASE_URL"] == "as before"
    assert "ANOTHER" not in os.environ


def test_where_no_source_can_serve_unit_tests_still_run(project: Project) -> None:
    project.models("berth_export = DATABASE_URL = {pg_url}")
    project.write(test_it="def test_unit(): pass\ndef test_pg(pg_session): pass")
    result = project.run("--berth-source=container", **NOWHERE)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "berth: *berth_export is not set: postgres cannot be served from the source asked for*",
            "*no container engine answers.*",
        ]
    )


def test_pytest_env_sees_it_and_may_go_before_it(app: Project) -> None:
    app.plugins = ("env",)
    app.models("berth_export = DATABASE_URL = {pg_url}", "env =", "  COPY=x", "  D:OTHER=y")
    app.write(
        test_env="""
            import os

            def test_it(pg_url):
                assert os.environ["DATABASE_URL"] == pg_url
                assert os.environ["COPY"] == "x"
        """
    )
    app.run().assert_outcomes(passed=3)


def test_pytest_django_takes_its_settings_from_it(served: Project) -> None:
    pytest.importorskip("django")
    served.plugins = ("django",)
    served.ini(
        "DJANGO_SETTINGS_MODULE = site_settings",
        "berth_autouse = pg",
        "berth_export =",
        "  DB_HOST = {pg_host}",
        "  DB_PORT = {pg_port}",
        "  DB_USER = {pg_user}",
        "  DB_PASSWORD = {pg_password}",
        "  DB_NAME = {pg_database}",
    )
    served.write(
        site_settings="""
            import os

            SECRET_KEY = "x"
            DATABASES = {
                "default": {
                    "ENGINE": "django.db.backends.postgresql",
                    **{k: os.environ[f"DB_{k}"] for k in "HOST PORT USER PASSWORD NAME".split()},
                }
            }
        """,
        test_django="""
            import pytest
            from django.db import connection
            from django.conf import settings

            DATABASE = settings.DATABASES["default"]["NAME"]

            @pytest.mark.django_db
            def test_a_database_of_its_own_on_the_server():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT current_database()")
                    assert cursor.fetchone()[0].startswith("test_berth_")

            def test_settings(pg_url):
                assert pg_url.endswith("/" + DATABASE)
        """,
    )
    served.run().assert_outcomes(passed=2)
