"""`wait_for_async`, the twin of `wait_for` for asyncio."""

from __future__ import annotations

import asyncio
from itertools import count

import freezegun
import pytest

from pytest_berth import wait_for_async


def test_it_returns_the_truthy_value_of_a_function() -> None:
    numbers = count(-2)
    assert asyncio.run(wait_for_async(lambda: max(0, next(numbers)))) == 1


def test_it_awaits_what_can_be_awaited() -> None:
    async def condition() -> str:
        await asyncio.sleep(0)
        return "done"

    assert asyncio.run(wait_for_async(condition)) == "done"


def test_other_tasks_go_on_meanwhile() -> None:
    async def run() -> list[str]:
        found: list[str] = []
        asyncio.get_running_loop().call_later(0.05, found.append, "other")
        return await wait_for_async(lambda: found)

    assert asyncio.run(run()) == ["other"]


def test_at_the_deadline_the_last_value_is_told() -> None:
    with pytest.raises(TimeoutError, match=r"an order: not so after 0\.05 s; the last value was 0"):
        asyncio.run(wait_for_async(lambda: 0, 0.05, message="an order"))


def test_exceptions_that_are_ignored_are_told_at_the_deadline() -> None:
    def condition() -> bool:
        raise KeyError("missing")

    with pytest.raises(TimeoutError, match="the last attempt raised KeyError: 'missing'"):
        asyncio.run(wait_for_async(condition, 0.05, ignore=KeyError))
    with pytest.raises(KeyError):
        asyncio.run(wait_for_async(condition, 0.05))


def test_a_condition_that_does_not_end_is_cancelled() -> None:
    cancelled: list[bool] = []

    async def condition() -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return True

    with pytest.raises(TimeoutError, match="the first attempt had not ended"):
        asyncio.run(wait_for_async(condition, 0.05))
    assert cancelled == [True]


def test_a_deadline_passes_also_where_a_test_freezes_time() -> None:
    async def never() -> bool:
        await asyncio.Event().wait()
        return True

    async def main() -> str:
        with pytest.raises(TimeoutError):
            await wait_for_async(lambda: False, 0.02)
        with pytest.raises(TimeoutError):
            await wait_for_async(never, 0.02)
        values = iter([False, "ready"])
        return str(await wait_for_async(lambda: next(values)))

    with freezegun.freeze_time("2099-01-01"):
        assert asyncio.run(main()) == "ready"
