"""Polling with back-off and a deadline, instead of sleeping."""

from __future__ import annotations

import time
from contextlib import suppress  # noqa: TID251  its own cancellation only
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
# It runs on while the machine sleeps, where there is one that does.
_SINCE_BOOT = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic
)
_EPOCH = time.time() - _SINCE_BOOT()


def now(clock: Callable[[], float] = time.monotonic) -> float:
    """Return the seconds of a clock that runs on where a test has frozen time.

    What freezes time replaces ``time.monotonic`` for the whole process, other threads included;
    what a function has taken as a default stays.
    """
    return clock()


def pause(seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Sleep, also where a test has replaced ``time.sleep``; the function was taken as `now`'s."""
    sleep(seconds)


def wall_clock() -> float:
    """Return the seconds since the epoch, also where a test has frozen time or travels in it.

    What replaces ``time.time`` under every name that it has does not reach the clock of the boot.
    """
    return _EPOCH + _SINCE_BOOT()


def wait_for(
    condition: Callable[[], T],
    timeout: float = 5.0,
    *,
    interval: float = 0.005,
    max_interval: float = 0.1,
    ignore: type[BaseException] | tuple[type[BaseException], ...] = (),
    message: str = "",
) -> T:
    """Call *condition* until it returns something truthy, and return that.

    Args:
        condition: Called without arguments; a falsy result means "not yet".
        timeout: Seconds to keep trying.
        interval: Seconds to wait after the first attempt; it doubles up to *max_interval*.
        max_interval: The longest wait between two attempts, in seconds.
        ignore: Exceptions that also mean "not yet".
        message: What is being waited for, for the error.

    Raises:
        TimeoutError: The deadline passed; it names the last value or exception.
    """
    deadline = now() + timeout
    while True:
        try:
            value = condition()
            if value:
                return value
            last = f"the last value was {value!r}"
        except ignore as error:
            last = f"the last attempt raised {type(error).__name__}: {error}"
        remaining = deadline - now()
        if remaining <= 0:
            name = message or getattr(condition, "__name__", repr(condition))
            raise TimeoutError(f"{name}: not so after {timeout:g} s; {last}")
        pause(min(interval, remaining))
        interval = min(interval * 2, max_interval)


async def wait_for_async(
    condition: Callable[[], Awaitable[T] | T],
    timeout: float = 5.0,
    *,
    interval: float = 0.005,
    max_interval: float = 0.1,
    ignore: type[BaseException] | tuple[type[BaseException], ...] = (),
    message: str = "",
) -> T:
    """Call *condition* until it returns something truthy, and return that; `wait_for` for asyncio.

    Args:
        condition: Called without arguments; what it returns is awaited where it can be.
        timeout: Seconds to keep trying; a condition that is being awaited is cancelled then.
        interval: Seconds to wait after the first attempt; it doubles up to *max_interval*.
        max_interval: The longest wait between two attempts, in seconds.
        ignore: Exceptions that also mean "not yet".
        message: What is being waited for, for the error.

    Raises:
        TimeoutError: The deadline passed; it names the last value or exception.
    """
    import asyncio

    deadline = now() + timeout
    last = "the first attempt had not ended"
    name = message or getattr(condition, "__name__", repr(condition))
    while True:
        remaining = max(0.0, deadline - now())
        task = asyncio.ensure_future(_awaited(condition))
        if not await _is_done_within(task, remaining):
            await _cancel(task)
            raise TimeoutError(f"{name}: not so after {timeout:g} s; {last}")
        try:
            value = task.result()
            if value:
                return value
            last = f"the last value was {value!r}"
        except ignore as error:
            last = f"the last attempt raised {type(error).__name__}: {error}"
        remaining = deadline - now()
        if remaining <= 0:
            raise TimeoutError(f"{name}: not so after {timeout:g} s; {last}")
        await _pause(min(interval, remaining))
        interval = min(interval * 2, max_interval)


def _is_frozen(real: Callable[[], float] = time.monotonic) -> bool:
    """Tell whether the clock that event loops go by has been replaced, and may stand still."""
    return time.monotonic is not real


async def _pause(seconds: float) -> None:
    import asyncio

    if _is_frozen():
        await asyncio.get_running_loop().run_in_executor(None, pause, seconds)
    else:
        await asyncio.sleep(seconds)


async def _is_done_within(task: asyncio.Future[T], timeout: float) -> bool:
    import asyncio

    if not _is_frozen():
        done, _ = await asyncio.wait({task}, timeout=timeout)
        return bool(done)
    deadline = now() + timeout
    await asyncio.sleep(0)
    while not task.done() and now() < deadline:
        await _pause(0.005)
    return task.done()


async def _awaited(condition: Callable[[], Awaitable[T] | T]) -> T:
    import inspect

    value = condition()
    return await value if inspect.isawaitable(value) else value


async def _cancel(task: asyncio.Future[T]) -> None:
    import asyncio

    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
