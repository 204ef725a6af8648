"""What a failing test's report of Postgres makes of rows and errors, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_berth.services.postgres.failure import masked_details, server_error, values
from pytest_berth.services.postgres.failure.tables import MOST, Change, Table
from pytest_berth.services.postgres.failure.values import Column

KEY = Column("id", "integer", in_key=True)
TEXT = Column("text", "text")


@pytest.mark.parametrize(
    ("name", "kind", "value", "shown"),
    [
        ("id", "integer", "1", "1"),
        ("ok", "boolean", "t", "true"),
        ("email", "text", None, "NULL"),
        ("email", "text", "a\nb\\", "'a\\nb\\\\'"),
        ("email", "text", "x" * 61, f"'{'x' * 60}...'"),
        ("at", "timestamp without time zone", "2024-01-01", "'2024-01-01' (without time zone)"),
        ("url", "text", "redis://me:hunter2@host", "'redis://me:***@host'"),
        ("data", "jsonb", '{"api_key": "hunter2", "n": 1}', '\'{"api_key": ***, "n": 1}\''),
        *[
            (name, "text", "hunter2", "***")
            for name in ("password", "passwordHash", "pw_hash", "salt", "api_key", "token", "hash")
        ],
        ("passenger", "text", "ada", "'ada'"),
        ("hashtag", "text", "ada", "'ada'"),
    ],
)
def test_a_value_is_shown_on_one_line_cut_and_masked(
    name: str, kind: str, value: str | None, shown: str
) -> None:
    assert Column(name, kind).shown(value) == shown


def test_rows_are_paired_by_the_key() -> None:
    table = Table(1, "public", "users", (KEY, TEXT))
    change = Change(
        table,
        new=[("1", "new"), ("2", "same"), ("3", "b" * 200)],
        gone=[("2", "same"), ("3", "b" * 200), ("4", "gone")],
    )
    assert change.lines(1) == [
        "public.users: 1 added, 1 changed, 1 deleted",
        "  + id=1, text='new'",
        "  ~ id=3: differs after the first 200 characters",
        "  - id=4, text='gone'",
    ]
    assert Change(table, new=[("1", "a")], gone=[("1", "a")]).lines(1) == []


def test_only_pairs_are_shown_of_more_rows_than_are_looked_at() -> None:
    many = [(str(number), "new") for number in range(MOST + 1)]
    table = Table(1, "public", "users", (KEY, TEXT))
    assert Change(table, new=many).lines(1)[0] == f"public.users: at least {MOST} added"
    assert Change(table, new=many, gone=[("7", "old"), ("x", "old")]).lines(1) == [
        f"public.users: at least {MOST} rows written, 2 of the old ones changed or deleted",
        "  ~ id=7: text 'old' -> 'new'",
    ]


def test_parts_are_joined_up_to_a_number() -> None:
    assert values.joined("abc", 2) == "a, b and 1 more"
    assert values.joined("ab", 2) == "a, b"


@pytest.mark.parametrize(
    ("detail", "masked"),
    [
        ("Key (token)=(a (b) c) already exists.", "Key (token)=(***) already exists."),
        ("Key (shop, lower(api_key))=(1, x) is", "Key (shop, lower(api_key))=(***) is"),
        ("Key (a)=(1) conflicts with existing key (a)=(2).", ""),
        ("Key (id)=(1) already exists.", ""),
    ],
)
def test_keys_of_secret_columns_are_masked_in_the_details_of_errors(
    detail: str, masked: str
) -> None:
    error = DriverError("23505", "duplicate")
    error.detail = detail
    assert masked_details.of([], error) == ({detail: masked} if masked else {})


class DriverError(Exception):
    """An error as asyncpg raises it."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message
        self.detail = ""


def test_the_first_error_of_a_transaction_is_found_behind_all_that_wraps_it() -> None:
    first = DriverError("23505", "duplicate")
    aborted = DriverError("25P02", "aborted")
    aborted.__context__ = first
    wrapped = RuntimeError("of the application")
    wrapped.__cause__ = aborted
    group: Any = Exception("of a task group")
    group.exceptions = (ValueError(), wrapped)
    found = server_error.find(group)
    assert found
    assert (found.state, found.message) == ("23505", "duplicate")
    alone = server_error.find(DriverError("25P02", "aborted"))
    assert alone
    assert alone.state == server_error.ABORTED
    assert server_error.find(ValueError()) is None


def test_errors_that_lead_to_each_other_are_looked_at_once() -> None:
    one, other = ValueError(), KeyError()
    one.__context__, other.__context__ = other, one
    assert server_error.find(one) is None
