"""Runs coroutines without an event loop, where nothing in them has to wait."""

from __future__ import annotations

import asyncio
from threading import local
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


_thread = local()


class SuspendedError(Exception):
    """A coroutine had to wait, where no event loop runs that could wake it up."""


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, here and now.

    Fixtures that open and close connections stay sync ones by this: they belong to no event loop,
    and work under every plugin that runs async tests.

    Raises:
        SuspendedError: It had to wait for something.
    """
    _thread.at_once = True
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    finally:
        _thread.at_once = False
    coroutine.close()
    raise SuspendedError


def has_loop() -> bool:
    """Tell whether the code that runs now may wait for an event loop."""
    if getattr(_thread, "at_once", False):
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
