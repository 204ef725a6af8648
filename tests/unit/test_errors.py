"""Messages in three parts, and the nearest valid name."""

from __future__ import annotations

import pytest

from pytest_berth import errors
from pytest_berth.errors import BerthError, MissingExtraError, StartError, nearest
from pytest_berth.run.once_per_run import raise_remembered, remember

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, BerthError)
]


def test_an_error_says_what_why_and_what_to_do() -> None:
    error = StartError("it did not start.", why="one\ntwo", remedy="three\nfour")
    assert str(error) == ("it did not start.\n  why: one\n       two\n  do:  three\n       four")


def test_parts_that_are_empty_are_left_out() -> None:
    assert str(BerthError("it did not start.")) == "it did not start."
    assert str(BerthError("no.", remedy="yes")) == "no.\n  do:  yes"


def test_a_missing_package_is_told_with_the_extra_that_brings_it() -> None:
    error = MissingExtraError("psycopg", "postgres", needed_by="postgres")
    assert str(error) == (
        "postgres needs the package 'psycopg', which is not installed.\n"
        '  do:  pip install "pytest-berth[postgres]"'
    )


def test_the_nearest_name_is_told() -> None:
    assert nearest("rolback", ["auto", "rollback"]) == "did you mean 'rollback'?"


def test_without_a_near_name_all_are_told_in_order() -> None:
    assert nearest("xyz", ["rollback", "auto"]) == "use one of: auto, rollback"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_that_is_remembered_is_raised_as_it_was(
    kind: type[BerthError], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "failure"
    error = BerthError.__new__(kind)
    BerthError.__init__(error, "what.", why="why", remedy="remedy")
    remember(path, error)
    with pytest.raises(kind) as caught:
        raise_remembered(path)
    assert type(caught.value) is kind
    assert str(caught.value) == str(error)


def test_nothing_is_raised_where_nothing_is_remembered(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    raise_remembered(tmp_path_factory.mktemp("run") / "failure")
