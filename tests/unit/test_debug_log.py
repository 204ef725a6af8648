"""What is passed over has a line in the debug log."""

from __future__ import annotations

import logging

import pytest

from pytest_berth.debug_log import ignoring


def test_an_error_that_is_ignored_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pytest_berth")
    with ignoring(KeyError, ValueError, why="the next one may answer"):
        raise ValueError("not a number")
    (line,) = caplog.records
    assert (line.name, line.levelname) == ("pytest_berth", "DEBUG")
    assert line.getMessage() == "the next one may answer: ValueError: not a number"


def test_other_errors_are_raised_and_where_there_is_none_nothing_is_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "pytest_berth")
    with pytest.raises(TypeError), ignoring(ValueError, why="unused"):
        raise TypeError
    with ignoring(ValueError, why="unused"):
        pass
    assert caplog.records == []
