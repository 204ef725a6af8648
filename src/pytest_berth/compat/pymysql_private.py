"""PyMySQL's private names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


# COM_RESET_CONNECTION, for which PyMySQL has no name.
_RESET = 0x1F


def reset(connection: Any) -> None:
    """Make a session as new: what was set in it, its temporary tables and its locks are gone."""
    connection._execute_command(_RESET, b"")
    connection._read_ok_packet()
    # As when it connects.
    connection.set_character_set(connection.charset, connection.collation)
    connection.autocommit(connection.autocommit_mode)


@contextmanager
def answers_within(connection: Any, seconds: float) -> Iterator[None]:
    """Let a connection wait no longer for an answer; it is closed where one comes too late."""
    usual, connection._read_timeout = connection._read_timeout, seconds
    try:
        yield
    finally:
        connection._read_timeout = usual
