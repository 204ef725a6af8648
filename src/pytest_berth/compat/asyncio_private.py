"""asyncio's private names, and what tells a coroutine function without importing it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# inspect.CO_COROUTINE
_COROUTINE = 0x80


def is_coroutine_function(function: object) -> bool:
    """Tell whether a function is written with ``async def``, without importing `inspect`."""
    return bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & _COROUTINE)


def marked_as_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that returns a coroutine, which is to be taken for one written so."""
    import asyncio
    import inspect

    mark = getattr(inspect, "markcoroutinefunction", None)
    if mark is not None:
        marked: Callable[..., Any] = mark(function)
        return marked
    # Before Python 3.12, asyncio alone could be told.
    vars(function)["_is_coroutine"] = vars(asyncio.coroutines).get("_is_coroutine")
    return function


def abort(transport: Any) -> None:
    """Close a transport at once, whether or not its event loop is closed by now."""
    try:
        transport.abort()
    except RuntimeError as error:
        logging.getLogger("pytest_berth").debug("a connection's event loop is closed: %s", error)
        _close_socket(transport)


def _close_socket(transport: Any) -> None:
    """Close the socket, which a closed loop, that calls nothing back, would leave open."""
    sock = getattr(transport, "_sock", None)
    if sock is not None:
        transport._sock = None
        sock.close()
