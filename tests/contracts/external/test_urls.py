"""The forms that a URL of an external server may have, and what is said of one that fails."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from pytest_berth.services.postgres import urls
from pytest_berth.sources import os_account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project
    from tests.contracts.conftest import Berthed, Stage
    from tests.contracts.external.conftest import Site

PASSWORD = "p@ss/w%rd: #1?"
QUOTED = quote(PASSWORD, safe="")
TEST = """
    import psycopg

    def test_doors(pg_session, pg_engine, pg_dsn):
        assert pg_session.connection().exec_driver_sql("SELECT 1").scalar() == 1
        with psycopg.connect(pg_dsn) as connection:
            print("encrypted:", connection.pgconn.ssl_in_use)
            print("through:", connection.info.host)
"""


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "password", "database"),
    [
        ("postgresql://ann:pw@db:5433/shop", "db", 5433, "ann", "pw", "shop"),
        ("postgres://ann:pw@db/shop", "db", 5432, "ann", "pw", "shop"),
        ("postgresql+psycopg://ann:pw@db/shop", "db", 5432, "ann", "pw", "shop"),
        ("postgresql+asyncpg://ann:pw@db/shop", "db", 5432, "ann", "pw", "shop"),
        (f"postgresql://ann:{QUOTED}@db/shop", "db", 5432, "ann", PASSWORD, "shop"),
        ("postgresql://a%40b:p%2Bq@db/my%20shop", "db", 5432, "a@b", "p+q", "my shop"),
        ("postgresql://ann:pw@[::1]:5433/shop", "::1", 5433, "ann", "pw", "shop"),
        ("postgresql://ann:pw@db", "db", 5432, "ann", "pw", "ann"),
        ("postgresql://ann@db/shop", "db", 5432, "ann", "", "shop"),
        ("postgresql://ann:pw@/shop", "localhost", 5432, "ann", "pw", "shop"),
        ("postgresql://ann:pw@/shop?host=/run/pg", "/run/pg", 5432, "ann", "pw", "shop"),
        ("postgresql://ann:pw@/shop?host=/run/pg&port=9", "/run/pg", 9, "ann", "pw", "shop"),
        ("postgresql://ann:pw@%2Frun%2Fpg:9/shop", "/run/pg", 9, "ann", "pw", "shop"),
    ],
)
def test_a_url_names_the_server(
    url: str, host: str, port: int, user: str, password: str, database: str
) -> None:
    server = urls.server(url, "given")
    assert (server.host, server.port) == (host, port)
    found = server.credentials
    assert (found.user, found.password, found.database) == (user, password, database)
    assert not server.parameters


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://a%40b:{QUOTED}@db:5433/my%20shop?sslmode=require&application_name=a%20b",
        f"postgresql://ann:{QUOTED}@[::1]:5433/shop?options=-c%20geqo%3Doff",
        "postgresql://ann:pw@/shop?host=%2Frun%2Fpg&port=9&sslmode=disable",
        "postgresql://ann@db/shop",
    ],
)
def test_a_url_means_the_same_to_libpq_and_sqlalchemy(url: str) -> None:
    server = urls.server(url, "given")
    libpq = conninfo_to_dict(urls.dsn(server, server.credentials.database))
    given = conninfo_to_dict(url)
    assert libpq == {"port": "5432", **given}
    parsed = make_url(urls.url(server, server.credentials.database))
    arguments = {k: str(v) for k, v in parsed.translate_connect_args(username="user").items()}
    arguments["dbname"] = arguments.pop("database")
    assert {**arguments, **parsed.query} == {"port": "5432", **given}


@pytest.mark.parametrize("password", ["a/b", "a#b", "a?b"])
def test_a_password_that_should_have_been_quoted_is_told_but_not_shown(
    project: Project, password: str
) -> None:
    project.write(test_doors=TEST)
    result = project.run(f"--berth-pg-url=postgresql://ann:{password}@db:5432/shop")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: the URL of the external server has no number for a port.",
            "  why: a '/', '#'*in the password ends it unless it is quoted (--berth-pg-url)",
            "  do:  quote such characters: / as %2F*",
        ]
    )
    assert password not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    "place", ["db1:5432,db2:5433/shop", "db1,db2/shop", "/shop?host=db1,db2", "[::1]:1,db2/shop"]
)
def test_a_url_with_several_hosts_is_refused(project: Project, place: str) -> None:
    project.write(test_doors=TEST)
    result = project.run(f"--berth-pg-url=postgresql://ann:pw@{place}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: the URL of the external server names several hosts.",
            "  why: *all on one server (--berth-pg-url)",
            "  do:  name one of them, that which takes writes",
        ]
    )


def test_a_url_with_a_service_is_refused(project: Project) -> None:
    """It has the host, which would be this machine's where the URL alone were read."""
    project.write(test_doors=TEST)
    result = project.run("--berth-pg-url=postgresql:///shop?service=ci")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: the URL of the external server names a service.",
            "  why: only libpq reads its file*(--berth-pg-url)",
            "  do:  write out what pg_service.conf says of it*",
        ]
    )


def test_parameters_are_kept_in_the_environment_of_commands() -> None:
    server = urls.server("postgresql://ann:pw@db/shop?sslmode=require", "given")
    assert urls.url(server, "shop", "asyncpg").endswith("@db:5432/shop?ssl=require")
    variables = urls.variables(server, "clone")
    assert variables["PGSSLMODE"] == "require"
    assert (variables["PGHOST"], variables["PGPORT"]) == ("db", "5432")
    assert (variables["PGUSER"], variables["PGDATABASE"]) == ("ann", "clone")


@pytest.mark.parametrize("form", ["postgres", "postgresql+psycopg", "postgresql+asyncpg"])
def test_a_scheme_of_any_kind_is_served(project: Project, site: Site, form: str) -> None:
    site.allow("CREATEDB")
    project.write(test_doors=TEST)
    url = site.url().replace("postgresql", form, 1)
    project.run(f"--berth-pg-url={url}").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "wrong"}, "password authentication failed for user"),
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
    ],
)
def test_a_refusal_is_told_at_once(
    project: Project, site: Site, changes: dict[str, str], reason: str
) -> None:
    project.write(test_doors=TEST)
    began = time.monotonic()
    result = project.run(f"--berth-pg-url={site.url(**changes)}")
    assert time.monotonic() - began < 30
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "the server at 127.0.0.1:* refuses the account of berth_pg_url.",
            f"  why: *{reason}*",
            "  do:  check user and *, in berth_pg_url*",
        ]
    )
    result.stdout.no_fnmatch_line("*another server*")
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize("host", ["127.0.0.1", "database.invalid"])
def test_a_server_that_is_down_is_told_when_the_time_is_over(project: Project, host: str) -> None:
    project.ini("berth_start_timeout = 1")
    project.write(test_doors=TEST)
    result = project.run(f"--berth-pg-url=postgresql://ann:secret-word@{host}:1/shop")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            f"postgres at {host}:1 did not answer in time.",
            "  why: berth_start_timeout = 1 (pytest.ini); *",
            "  do:  start it if it is yours, or give it more time: berth_start_timeout = 120",
        ]
    )
    assert "secret-word" not in result.stdout.str()


def test_a_server_without_tls_is_refused_at_once_where_the_url_requires_it(
    project: Project, site: Site
) -> None:
    project.write(test_doors=TEST)
    result = project.run(f"--berth-pg-url={site.url()}?sslmode=require")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*server does not support SSL, but SSL was required*"])


def test_tls_is_used_where_the_url_requires_it(
    project: Project, tls: Callable[[str], Berthed]
) -> None:
    project.write(test_doors=TEST)
    result = project.run(f"--berth-pg-url={tls('').url}?sslmode=require", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*encrypted: True"])


def test_a_socket_directory_is_used_where_the_url_names_it(
    project: Project, tls: Callable[[str], Berthed]
) -> None:
    berthed = tls("")
    directory = berthed.query("SHOW unix_socket_directories")
    found = berthed.server.credentials
    url = f"postgresql://{found.user}:{found.password}@/postgres"
    project.write(test_doors=TEST)
    result = project.run(f"--berth-pg-url={url}?host={directory}&port={berthed.server.port}", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*through: {directory}"])


def test_an_ipv6_address_is_used_where_the_url_names_it(
    project: Project, tls: Callable[[str], Berthed]
) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"this machine has no IPv6: {error}")
    url = tls("listen_addresses = 127.0.0.1,::1").url
    project.write(test_doors=TEST)
    result = project.run(f"--berth-pg-url={url.replace('127.0.0.1', '[::1]')}", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*through: ::1"])


@pytest.fixture
def tls(stage: Stage, require_source: Callable[[str], None]) -> Iterator[Callable[[str], Berthed]]:
    """Return a function that starts a server with a certificate and a socket."""
    require_source("local")
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate with")
    with tempfile.TemporaryDirectory(prefix="berth-test-") as name:
        directory = Path(name)
        key, certificate = directory / "server.key", directory / "server.crt"
        request = "openssl req -new -x509 -nodes -days 2 -subj /CN=localhost -newkey rsa:2048"
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*request.split(), *files], check=True, capture_output=True)
        for path in (directory, key, certificate):
            os_account.give(path)
        key.chmod(0o600)
        settings = [
            "ssl = on",
            f"ssl_key_file = {key}",
            f"ssl_cert_file = {certificate}",
            f"unix_socket_directories = {directory}",
        ]
        yield lambda more: stage.start("local", berth_pg_settings=[*settings, more])
        stage.end()


def test_other_servers_of_these_tests_are_reached_without_tls(outer_url: str) -> None:
    with psycopg.connect(outer_url.replace("+psycopg", "")) as connection:
        assert not connection.pgconn.ssl_in_use
