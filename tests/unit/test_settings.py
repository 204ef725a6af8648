"""How the values of settings are read."""

from __future__ import annotations

import pytest

from pytest_berth.config.options import boolean, choice, lines, mask, seconds, words


def test_lines_leave_out_blanks_and_comments() -> None:
    assert lines(["  one.sql ", "", "  ", "# two.sql", "three.sql"]) == ("one.sql", "three.sql")


def test_words_are_those_of_all_lines() -> None:
    assert words(["one two", "# no", " three "]) == ("one", "two", "three")


@pytest.mark.parametrize("text", ["true", "Yes", " ON ", "1", True])
def test_truth_is_written_in_many_ways(text: str | bool) -> None:
    assert boolean(text) is True


@pytest.mark.parametrize("text", ["false", "No", " OFF ", "0", False])
def test_untruth_is_written_in_many_ways(text: str | bool) -> None:
    assert boolean(text) is False


@pytest.mark.parametrize("text", ["", "maybe", "2"])
def test_anything_else_is_no_truth_value(text: str) -> None:
    with pytest.raises(ValueError, match="use true or false"):
        boolean(text)


def test_seconds_may_have_a_fraction() -> None:
    assert seconds("0.25") == 0.25


@pytest.mark.parametrize("text", ["0", "-1", "0.0001", "1e7", "inf", "nan", "soon", ""])
def test_seconds_are_a_number_above_zero(text: str) -> None:
    with pytest.raises(ValueError, match="use a number of seconds"):
        seconds(text)


def test_a_choice_is_one_of_the_valid_words() -> None:
    parse = choice("", "auto", "local")
    assert parse(" local ") == "local"
    with pytest.raises(ValueError, match=r"^use one of: auto, local$"):
        parse("zzz")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        (
            "postgresql+psycopg://me:a@b:c/d@host:5432/db",
            "postgresql+psycopg://me:***@host:5432/db",
        ),
        ("postgresql://:secret@host/db", "postgresql://:***@host/db"),
        ("postgresql://me@h/db?password=secret&a=b", "postgresql://***@h/db?password=***&a=b"),
        ("postgresql://me@host:5432/db", "postgresql://***@host:5432/db"),
        ("nats://token@host:4222", "nats://***@host:4222"),
        ("app.models:Base.metadata", "app.models:Base.metadata"),
        ("alembic: alembic.ini", "alembic: alembic.ini"),
        ("https://repo1.maven.org/maven2", "https://repo1.maven.org/maven2"),
    ],
)
def test_passwords_of_urls_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert mask(text) == shown
