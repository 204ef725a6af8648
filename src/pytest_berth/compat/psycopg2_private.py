"""psycopg2's private names."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# The function of the package that ``psycopg2.connect`` calls.
CONNECT = "_connect"


def close_idle(pool: Any, is_meant: Callable[[Any], bool]) -> None:
    """Close those idle connections of a pool that are meant; it connects anew when it needs any."""
    with getattr(pool, "_lock", nullcontext()):
        for connection in [each for each in pool._pool if is_meant(each)]:
            pool._pool.remove(connection)
            connection.close()
