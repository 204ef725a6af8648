"""Secrets are replaced in texts and in the objects of pytest's reports."""

from __future__ import annotations

import html
import json
import logging
from urllib.parse import quote, quote_plus

import pytest
from psycopg.conninfo import make_conninfo

from pytest_berth.api import Credentials, Server
from pytest_berth.reporting.redaction import RedactingFormatter, Redaction


def server(source: str, password: str) -> Server:
    """Return a server with a password."""
    return Server("postgres", source, "h", 1, Credentials("me", password, "db"))


STARTED = Redaction.of([server("local", "s3cr3t/")])
GIVEN = Redaction.of([server("external", "postgres")])


def test_the_password_of_a_started_server_is_replaced_everywhere() -> None:
    assert STARTED.text("s3cr3t/ and s3cr3t%2F") == "*** and ***"


def test_the_password_of_a_given_url_is_replaced_where_it_stands_as_one() -> None:
    text = "postgres://postgres:postgres@h/postgres password=postgres"
    assert GIVEN.text(text) == "postgres://postgres:***@h/postgres password=***"


SPECIAL = "p@s\\s'w \"o%&<r>+d/é$"


@pytest.mark.parametrize(
    "written",
    [
        SPECIAL,
        repr(SPECIAL),
        repr({"text": repr(SPECIAL)}),
        ascii(SPECIAL),
        json.dumps({"url": SPECIAL}),
        quote(SPECIAL, safe=""),
        quote(SPECIAL, safe=" +/").lower(),
        quote_plus(SPECIAL),
        make_conninfo(password=SPECIAL),
        SPECIAL.replace("'", "''"),
        html.escape(SPECIAL),
        f"...{SPECIAL[3:]}",
        f"{SPECIAL[:12]}...",
    ],
)
def test_a_given_password_is_replaced_in_each_form(written: str) -> None:
    redacted = Redaction.of([server("external", SPECIAL)]).text(f"it is {written}, seen")
    assert "***" in redacted
    assert redacted.startswith("it is ")
    assert redacted.endswith(", seen")
    assert not any(part in redacted for part in ("s'w", "r>+", "p@s", "%3E", "/é", "+d", "o%"))


@pytest.mark.parametrize("common", ["postgres", "test", "a", "1", "correcthorse", "Db1-host9"])
def test_a_common_word_is_replaced_only_where_it_is_called_a_password(common: str) -> None:
    given = Server("postgres", "external", "Db1-host9", 1, Credentials("me", common, "db"))
    redaction = Redaction.of([given])
    for plain in (
        f"1 passed, {common} passed: it {common} user={common} '{common}' passes {common}",
        f"password authentication failed for user {common}",
        f"password={common}er",
    ):
        assert redaction.text(plain) == plain
    for called in (
        "password   = '{}'",
        "{{'password': '{}'}}",
        "('db_password', '{}')",
        "PGPASSWORD={}",
        "ALTER ROLE me PASSWORD '{}'",
        "postgres://me:{}@h",
        "requirepass {}",
    ):
        assert redaction.text(called.format(common)) == called.format("***")


def test_a_common_word_is_replaced_where_its_name_says_that_it_is_a_password() -> None:
    value = [("password", "'postgres'"), ("user", "'postgres'"), {"PGPASSWORD": "postgres"}]
    assert GIVEN.everything(value) == [
        ("password", "'***'"),
        ("user", "'postgres'"),
        {"PGPASSWORD": "***"},
    ]


def test_without_a_password_nothing_is_replaced() -> None:
    assert Redaction.of([server("external", "")]).text("a:@b") == "a:@b"


def test_secrets_are_replaced_within_lists_tuples_and_dicts() -> None:
    value = [("log", "s3cr3t/"), {"a": ["s3cr3t/"]}, 7, None]
    assert STARTED.everything(value) == [("log", "***"), {"a": ["***"]}, 7, None]


@pytest.mark.parametrize("style", ["long", "short", "native", "line", "value"])
def test_secrets_are_replaced_in_tracebacks(style: str) -> None:
    def fail() -> None:
        hidden = ["s3cr3t/"]
        raise RuntimeError(f"with {hidden}")

    with pytest.raises(RuntimeError) as caught:
        fail()
    shown = caught.getrepr(showlocals=True, style=style)  # type: ignore[arg-type]
    assert "s3cr3t" in str(shown).replace('["s3cr3t/"]', "")
    redacted = str(STARTED.everything(shown))
    assert "***" in redacted
    assert "with ['s3cr3t" not in redacted


def test_a_repr_does_not_tell_the_secrets() -> None:
    assert "s3cr3t" not in repr(STARTED)
    assert "s3cr3t" not in repr(server("local", "s3cr3t/"))


def test_a_formatter_formats_as_before_but_for_secrets() -> None:
    formatter = RedactingFormatter(logging.Formatter("%(levelname)s: %(message)s"), STARTED)
    record = logging.LogRecord("app", logging.INFO, "", 1, "to %s", ("s3cr3t/",), None)
    assert formatter.format(record) == "INFO: to ***"


def test_a_logged_traceback_is_redacted() -> None:
    formatter = RedactingFormatter(logging.Formatter("%(message)s"), STARTED)
    try:
        raise RuntimeError("s3cr3t/")
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
        record = logging.LogRecord("app", logging.INFO, "", 1, "failed", (), info)
    assert "RuntimeError: ***" in formatter.format(record)


@pytest.mark.parametrize(
    ("user", "text", "shown"),
    [
        ("app", "nats://app@h:1 of app", "nats://***@h:1 of app"),
        ("s3cr3tT0kenOfNats", "auth_token s3cr3tT0kenOfNats", "auth_token ***"),
    ],
)
def test_a_user_without_a_password_may_be_a_token(user: str, text: str, shown: str) -> None:
    given = Server("nats", "external", "h", 1, Credentials(user, "", ""))
    assert Redaction.of([given]).text(text) == shown
