"""PyMySQL's private names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def answers_within(connection: Any, seconds: float) -> Iterator[None]:
    """Let a connection wait no longer for an answer; it is closed where one comes too late."""
    usual, connection._read_timeout = connection._read_timeout, seconds
    try:
        yield
    finally:
        connection._read_timeout = usual
