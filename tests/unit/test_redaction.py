"""Secrets are replaced in texts and in the objects of pytest's reports."""

from __future__ import annotations

import logging

import pytest

from pytest_berth.reporting.redact import RedactingFormatter, Redaction
from pytest_berth.service import Credentials, Server


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
