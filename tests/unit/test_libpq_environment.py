"""libpq's variables: what URLs of our own servers say where a user has set them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from pytest_berth.api import Credentials, Server
from pytest_berth.services.postgres import libpq_environment, urls

OURS = Server("postgres", "local", "127.0.0.1", 5, Credentials("berth", "secret", "postgres"))
COLOURS = {
    "PGSSLMODE": "verify-full",
    "PGHOSTADDR": "127.0.0.9",
    "PGOPTIONS": "-c search_path=nowhere",
    "PGREQUIREAUTH": "none",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCLIENTENCODING": "SQL_ASCII",
}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in libpq_environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_url_states_what_a_variable_would_set_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = "postgresql://berth:secret@127.0.0.1:5/shop"
    assert urls.dsn(OURS, "shop") == plain
    monkeypatch.setenv("PGSSLMODE", "require")
    assert urls.dsn(OURS, "shop") == f"{plain}?sslmode=disable"
    for name, value in COLOURS.items():
        monkeypatch.setenv(name, value)
    stated = psycopg.conninfo.conninfo_to_dict(urls.dsn(OURS, "shop"))
    assert (stated["sslmode"], stated["hostaddr"], stated["options"]) == (
        "disable",
        "127.0.0.1",
        " ",
    )
    asyncpg = urls.url(OURS, "shop", "asyncpg")
    assert parse_qs(urlsplit(asyncpg).query) == {
        "ssl": ["disable"],
        "target_session_attrs": ["any"],
    }


def test_a_service_can_set_anything_so_everything_is_stated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSERVICE", "production")
    stated = psycopg.conninfo.conninfo_to_dict(urls.dsn(OURS, "shop"))
    assert {"sslmode", "hostaddr", "options", "client_encoding", "gssencmode"} <= set(stated)


def test_variables_hold_for_a_server_at_a_given_url(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COLOURS.items():
        monkeypatch.setenv(name, value)
    given = "postgresql://me:secret@db:5432/shop"
    assert urls.dsn(urls.server(given, "tests"), "shop") == given


def test_what_no_parameter_states_is_taken_out_of_the_environment() -> None:
    environment = {"PGTZ": "Nowhere", "PGDATESTYLE": "German", "PGUSER": "me", "PATH": "/bin"}
    libpq_environment.forget_session_variables(environment)
    assert environment == {"PGUSER": "me", "PATH": "/bin"}
    assert libpq_environment.without_variables(environment) == {"PATH": "/bin"}
