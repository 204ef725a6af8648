"""Values out of a server: on one line, cut, and without secrets."""

from __future__ import annotations

import pytest

from pytest_berth.shown_values import is_secret, masked, shown


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "user_password",
        "hashed_pwd",
        "apiKey",
        "X-Api-Key",
        "access_token",
        "auth",
        "requirepass",
        "Authorization",
        "SECRET_KEY",
        "session.cookie",
        "db-pass",
        "cvc",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)
    assert shown("hunter2", name=name) == "***"


@pytest.mark.parametrize("name", ["author", "compass", "passenger", "monkey", "key", "email", "id"])
def test_names_of_what_is_none(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "text",
    [
        '{"id": 1, "password": "hunter2", "name": "x"}',
        '{"id": 1, "password": "hunter2',
        '{"id": 1, "password": "a\\"hunter2"}',
        '{"id": 1, "tokens": ["hunter2", "b"], "name": 1}',
        '{"id": 1, "secret": {"a": "hunter2"}}',
        r'{"id": 1, "inner": "{\"password\": \"hunter2\"}"}',
        "{'id': 1, b'password': b'hunter2'}",
        "id=1&password=hunter2&name=x",
        "id: 1, Authorization: Bearer hunter2",
        "id 1 --api-key=hunter2",
    ],
)
def test_secrets_within_a_value(text: str) -> None:
    for each in (masked(text), shown(text), shown(text.encode())):
        assert "hunter2" not in each
        assert "***" in each
        assert "id" in each


def test_what_is_no_secret_is_shown_as_it_is() -> None:
    text = '{"author": "x", "key": "value", "sort_key": 3}'
    assert masked(text) == text
    assert shown(text) == repr(text)
    assert shown(7) == "7"
    assert shown(b"\xff'x") == repr(b"\xff'x")
    assert shown("grün".encode()[:3]) == "'gr'"


def test_a_long_value_is_cut() -> None:
    assert shown("x" * 300, most=5) == "'xxxxx'... (300 long)"
    assert shown("x" * 5, most=5, size=900) == "'xxxxx'... (900 long)"
