"""What a command has needed is remembered in pytest's cache."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_berth.run import expected_services


class Cache:
    """A cache that counts how often it is written."""

    def __init__(self, content: object = None) -> None:
        self.content = content
        self.writes = 0

    def get(self, key: str, default: object) -> object:
        """Return what is there."""
        return default if self.content is None else self.content

    def set(self, key: str, value: object) -> None:
        """Keep a value."""
        self.content = value
        self.writes += 1


def command(cache: object, *arguments: str) -> Any:
    """Return pytest's configuration of a command."""
    given = SimpleNamespace(args=arguments, dir=Path("/project"))
    return SimpleNamespace(cache=cache, invocation_params=given)


def test_each_command_has_its_own_and_only_news_is_written() -> None:
    cache = Cache()
    one, other = command(cache, "tests", "-o", "berth_pg_url=secret"), command(cache)
    expected_services.note(other, [])
    assert cache.writes == 0
    for _ in range(2):
        expected_services.note(one, ["redis", "postgres"])
    assert cache.writes == 1
    assert "secret" not in str(cache.content)
    assert expected_services.of(one) == {"postgres", "redis"}
    assert expected_services.of(other) == frozenset()
    expected_services.note(one, [])
    assert expected_services.of(one) == frozenset()
    assert cache.content == {}


def test_what_cannot_be_expected_stays_so_until_nothing_is_needed() -> None:
    one = command(Cache(), "tests")
    expected_services.note(one, ["redis"], may_be_expected=False)
    expected_services.note(one, ["redis"])
    assert expected_services.of(one) == frozenset()
    expected_services.note(one, [])
    expected_services.note(one, ["redis"])
    assert expected_services.of(one) == {"redis"}


def test_what_was_not_used_for_longest_of_many_commands_goes() -> None:
    cache = Cache()
    usual = command(cache, "usual")
    for number in range(60):
        expected_services.note(usual, ["redis"])
        expected_services.note(command(cache, str(number)), ["redis"])
        assert expected_services.of(usual) == {"redis"}
    assert expected_services.of(command(cache, "0")) == frozenset()


@pytest.mark.parametrize("content", [[1], {"a": 1}, "text", {"a": ["redis"], "b": None}])
def test_a_cache_that_others_have_written_to_is_none(content: object) -> None:
    one = command(Cache(content), "tests")
    assert expected_services.of(one) == frozenset()
    expected_services.note(one, ["redis"])
    assert expected_services.of(one) == {"redis"}


def test_without_pytests_cache_nothing_is_expected() -> None:
    one = command(None)
    expected_services.note(one, ["redis"])
    assert expected_services.of(one) == frozenset()
