"""Passwords are taken out of everything that pytest prints or writes of them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from marks import nightly, usual
from pytest_berth import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Project

LEAKY = """
    import logging
    import os
    import sys
    import warnings
    import pytest
    from sqlalchemy import make_url

    def note(text):
        with open("secrets", "a") as stream:
            stream.write(text + "\\n")

    @pytest.fixture
    def talkative(pg_url):
        note(make_url(pg_url).password)
        logging.getLogger("app").warning("fixture connects to %s", pg_url)
        print("fixture", pg_url)
        yield
        print("teardown", pg_url)

    def test_difference(talkative, pg_url):
        assert pg_url == "something else"

    def test_in_a_list(pg_dsn):
        assert [pg_dsn, {"url": pg_dsn}] == []

    def test_locals(pg_url):
        url = pg_url
        parts = [url, {"nested": (url,)}]
        password = make_url(url).password
        raise RuntimeError(url)

    def test_output(pg_url):
        print(pg_url)
        print(pg_url, file=sys.stderr)
        logging.getLogger("app").error("connecting to %s", pg_url)
        os.write(1, pg_url.encode())
        assert False

    def test_chained(pg_url):
        try:
            raise ValueError(pg_url)
        except ValueError as error:
            raise RuntimeError("again " + pg_url) from error

    def test_passing(talkative, pg_url):
        logging.getLogger("app").error("passing with %s", pg_url)

    def test_skipped(pg_url):
        pytest.skip("because of " + pg_url)

    @pytest.mark.xfail
    def test_expected(pg_url):
        assert pg_url == ""

    @pytest.mark.filterwarnings("ignore")
    def test_property(record_property, record_testsuite_property, record_xml_attribute, pg_url):
        record_property("url", pg_url)
        record_testsuite_property("url", pg_url)
        record_xml_attribute("url", pg_url)

    def test_xfailed(pg_url):
        pytest.xfail("because of " + pg_url)

    def test_warning(pg_url):
        warnings.warn("slow: " + pg_url)

    def test_values(pg_url):
        def connect(host, password, settings):
            raise RuntimeError
        password = make_url(pg_url).password
        connect("h", password, {"password": password, "repr": repr([password]), "url": pg_url})

    @pytest.fixture
    def broken(pg_url):
        yield
        raise RuntimeError("teardown of " + pg_url)

    def test_teardown(broken):
        pass
"""
SUBTESTS = """
    def test_subtests(pg_url, subtests):
        note(make_url(pg_url).password)
        with subtests.test(msg=pg_url, url=pg_url):
            print(pg_url)
            assert pg_url == ""
        with subtests.test(msg=pg_url, password=make_url(pg_url).password):
            pass
"""
WRITTEN = ("--log-file=file.log", "--junitxml=report.xml")
STYLES = {
    "all": (
        *("-rA", "--setup-show", "--durations=0", "-ojunit_logging=all", "-vvv", "--showlocals"),
        *("--full-trace", "--log-cli-level=INFO", "--log-level=INFO"),
    ),
    "xdist": ("-n2", "-l", "-vv", "-rA"),
    # Each by itself, as one may hide what another one shows.
    "plain": (),
    "locals": ("-l", "-vv"),
    "passing": ("-rA", "--setup-show", "--durations=0", "-ojunit_logging=all"),
    "short": ("--tb=short", "-rA"),
    "native": ("--tb=native", "-l"),
    "live": ("--log-cli-level=INFO", "--log-level=INFO"),
    "uncut": ("-vvv", "--showlocals", "--full-trace"),
}
OUTCOMES = {"passed": 4, "failed": 6, "skipped": 1, "xfailed": 2, "errors": 1, "warnings": 1}


@pytest.fixture
def leaky(project: Project) -> Project:
    """A project whose tests print a password in every way, except past pytest."""
    project.plugins = ("xdist",)
    project.models()
    project.write(test_leaks=LEAKY)
    return project


def assert_redacted(project: Project, result: pytest.RunResult, *passwords: str) -> None:
    """Assert that the secrets are in nothing that the run printed or wrote."""
    noted = set((project.root / "secrets").read_text().split()) | set(passwords)
    written = [project.root / name for name in ("file.log", "report.xml")]
    texts = {path.name: path.read_text() for path in written if path.exists()}
    texts |= {"stdout": result.stdout.str(), "stderr": result.stderr.str()}
    for secret in noted:
        for name, text in texts.items():
            found = [line for line in text.splitlines() if secret in line]
            assert found == [], name


@pytest.mark.parametrize("style", usual(STYLES, "all", "xdist"))
def test_the_password_of_a_started_server_is_nowhere(
    leaky: Project, require_source: Callable[[str], None], style: str
) -> None:
    require_source("local")
    result = leaky.run("--berth-source=local", *WRITTEN, *STYLES[style])
    result.assert_outcomes(**OUTCOMES)
    assert "***" in result.stdout.str()
    assert_redacted(leaky, result)


@pytest.fixture
def account(outer_url: str) -> Iterator[Callable[[str], str]]:
    """A function that makes a superuser with the given password, and returns the URL."""
    name = f"berth_tests_{secrets.token_hex(4)}"
    with psycopg.connect(outer_url.replace("+psycopg", ""), autocommit=True) as connection:
        place = f"{connection.info.host}:{connection.info.port}/postgres"

        def make(password: str) -> str:
            connection.execute(
                sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(
                    sql.Identifier(name), sql.Literal(password)
                )
            )
            return f"postgresql://{name}:{quote(password, safe='')}@{place}"

        yield make
        drop = sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name))
        # Another run on this server may be dropping the template that the role owns.
        in_use = psycopg.errors.DependentObjectsStillExist
        wait_for(lambda: connection.execute(drop), 60, ignore=in_use)


@pytest.mark.parametrize("style", ["live", *nightly("locals", "xdist")])
def test_the_password_of_a_given_url_is_nowhere(
    leaky: Project, account: Callable[[str], str], style: str
) -> None:
    secret = "s3cret/with@special:characters"
    (leaky.root / "secrets").write_text("")
    result = leaky.run(*WRITTEN, *STYLES[style], BERTH_PG_URL=account(secret))
    result.assert_outcomes(**OUTCOMES)
    assert_redacted(leaky, result, secret, quote(secret, safe=""))


def test_a_password_that_is_a_common_word_leaves_other_text_alone(
    leaky: Project, account: Callable[[str], str]
) -> None:
    leaky.write(test_leaks="def test_it(pg_url): assert 'rows' in ('rowing', pg_url)")
    result = leaky.run("-vv", BERTH_PG_URL=account("rows"))
    result.stdout.fnmatch_lines(
        ["*assert 'rows' in ('rowing', 'postgresql+psycopg://*:[*][*][*]@*"]
    )


def test_subtests_do_not_tell_the_password(
    leaky: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    if not hasattr(pytest, "Subtests"):
        pytest.skip("this pytest has no subtests")
    leaky.write(test_leaks=LEAKY.partition("    @pytest.fixture")[0] + SUBTESTS)
    for arguments in ((), ("-n1",)):
        result = leaky.run("--berth-source=local", "-vv", "-rA", "-l", *WRITTEN, *arguments)
        assert_redacted(leaky, result)
        result.stdout.fnmatch_lines(["*SUBFAIL*:[*][*][*]@*"])


def test_what_no_report_holds_is_redacted(
    leaky: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    leaky.models("berth_export = APP_URL = {pg_url}", "berth_source = local")
    leaky.conftest(
        """
        import os
        from pathlib import Path
        import pytest

        Path("secrets").write_text(os.environ["APP_URL"].split(":")[2].split("@")[0])

        def pytest_report_header():
            return "works on " + os.environ["APP_URL"]

        def pytest_terminal_summary(terminalreporter):
            terminalreporter.section("worked on " + os.environ["APP_URL"])
            raise RuntimeError(os.environ["APP_URL"])
        """
    )
    leaky.write(
        test_broken="import os; raise RuntimeError(os.environ['APP_URL'])",
        test_leaks="""
            import os
            import pytest

            @pytest.mark.parametrize("url", [os.environ["APP_URL"]])
            def test_named_by_it(url, pg_url):
                pytest.exit("no more of " + url)
        """,
    )
    for arguments in (
        ("test_leaks.py",),
        ("--continue-on-collection-errors", "--setup-show", "-v"),
    ):
        result = leaky.run(*WRITTEN, *arguments)
        assert "***" in result.stdout.str()
        assert_redacted(leaky, result)


def test_the_password_of_a_given_url_is_hidden_where_no_server_is_asked_for(
    project: Project,
) -> None:
    project.write(test_unit="import os\n\ndef test_unit(): assert dict(os.environ) == {}")
    url = "postgresql://ci:s3cret%2Fword@127.0.0.1:1/x"
    result = project.run("-vv", "-l", BERTH_PG_URL=url)
    result.assert_outcomes(failed=1)
    assert "s3cret" not in result.stdout.str()


def test_tests_themselves_see_the_password(
    leaky: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    leaky.write(
        test_leaks="""
            from sqlalchemy import make_url

            def test_it(pg_url, caplog, capsys):
                password = make_url(pg_url).password
                print(password)
                assert capsys.readouterr().out == password + "\\n"
                assert len(password) > 20
        """
    )
    leaky.run("--berth-source=local").assert_outcomes(passed=1)


def test_a_failing_schema_does_not_tell_the_password(
    leaky: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    leaky.ini("berth_pg_schema = command: sh -c 'env > env; env; exit 1'", "berth_source = local")
    result = leaky.run()
    environment = dict(
        line.partition("=")[::2] for line in (leaky.root / "env").read_text().splitlines()
    )
    assert len(environment["PGPASSWORD"]) > 20
    assert environment["PGPASSWORD"] not in result.stdout.str() + result.stderr.str()


def test_an_exported_password_is_redacted_before_the_server_runs(
    leaky: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    leaky.models("berth_export = PASSWORD = {pg_password}", "berth_source = local")
    leaky.write(
        test_leaks="""
            import os

            def test_unit():
                with open("secrets", "w") as stream:
                    stream.write(os.environ["PASSWORD"])
                print(os.environ["PASSWORD"])
                assert os.environ["PASSWORD"] == ""
        """
    )
    assert_redacted(leaky, leaky.run("-l", *WRITTEN))


def test_an_exported_password_is_in_no_live_log_even_while_no_server_runs(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini("berth_export = APP_URL = {pg_url}", "    APP_SECRET = {pg_password}")
    project.write(
        test_unit="""
            import logging, os
            from pathlib import Path

            def test_unit():
                Path("secrets").write_text(os.environ["APP_SECRET"])
                logging.getLogger("app").warning("connecting to %s", os.environ["APP_URL"])
        """
    )
    result = project.run("--berth-source=local", *WRITTEN, *STYLES["live"])
    result.assert_outcomes(passed=1)
    assert "connecting to postgresql+psycopg://berth:***@" in result.stdout.str()
    assert_redacted(project, result)


def test_a_conftest_file_that_cannot_be_imported_tells_no_password(project: Project) -> None:
    project.ini("berth_export = DATABASE_URL = {pg_url}")
    project.conftest("""
        import os

        class BadUrlError(ValueError):
            def __init__(self, url):
                self.url = url

            def __str__(self):
                return f"cannot use {self.url}"

        raise BadUrlError(os.environ["DATABASE_URL"])
    """)
    project.write(test_a="def test_a(): pass")

    result = project.run()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["E *BadUrlError: cannot use postgresql+psycopg://berth:***@*"])
    assert not [line for line in result.errlines if "://berth:" in line and ":***@" not in line]
