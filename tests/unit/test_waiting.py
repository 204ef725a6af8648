"""Polling: until it is so, or the deadline passes."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING

import freezegun
import pytest
import time_machine

from pytest_berth import wait_for, waiting

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def test_the_first_truthy_value_is_returned() -> None:
    values = iter([0, "", None, "ready", "too late"])
    assert wait_for(lambda: next(values)) == "ready"


def test_a_condition_that_holds_already_is_asked_once_and_without_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "pause", lambda _: pytest.fail("it slept"))
    assert wait_for(lambda: 7, timeout=0) == 7


def test_the_deadline_tells_the_last_value_and_what_was_waited_for() -> None:
    with pytest.raises(
        TimeoutError, match=r"^the door: not so after 0.02 s; the last value was 0$"
    ):
        wait_for(lambda: 0, 0.02, message="the door")


def test_the_deadline_tells_the_name_of_the_condition() -> None:
    def is_open() -> bool:
        return False

    with pytest.raises(TimeoutError, match=r"^is_open: not so"):
        wait_for(is_open, 0.01)


def test_exceptions_that_mean_not_yet_are_waited_out() -> None:
    attempts = count()

    def fail_twice() -> str:
        if next(attempts) < 2:
            raise ConnectionError("not yet")
        return "ready"

    assert wait_for(fail_twice, ignore=OSError) == "ready"


def test_the_deadline_tells_the_last_exception() -> None:
    def refuse() -> str:
        raise ConnectionError("refused")

    with pytest.raises(TimeoutError, match="the last attempt raised ConnectionError: refused"):
        wait_for(refuse, 0.01, ignore=OSError)


def test_any_other_exception_is_raised_at_once() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_for(lambda: 1 / 0, ignore=OSError)


def test_the_waits_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(waiting, "pause", waits.append)
    values = iter([False] * 5 + [True])
    wait_for(lambda: next(values), 60, interval=0.01, max_interval=0.05)
    assert waits == [0.01, 0.02, 0.04, 0.05, 0.05]


@pytest.mark.parametrize(
    "frozen",
    [freezegun.freeze_time("2099-01-01"), time_machine.travel("1999-01-01", tick=False)],
    ids=["freezegun", "time-machine"],
)
def test_neither_deadlines_nor_the_date_stand_still_where_a_test_freezes_time(
    frozen: AbstractContextManager[object],
) -> None:
    today = time.time()
    with frozen:
        with pytest.raises(TimeoutError):
            wait_for(lambda: False, 0.01)
        assert abs(waiting.wall_clock() - today) < 3600


def test_the_condition_is_asked_once_more_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = count(step=10)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(waiting, "pause", lambda _: None)
    values = iter([False, True])
    assert wait_for(lambda: next(values), 15) is True
