"""What is bound to what: factories of a library, and the sessions that they work in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session


class Library(Protocol):
    """Factories of one library.

    Attributes:
        sequences: Where the sequence of each stands; None where it has not begun.
    """

    sequences: Sequence[int | None]

    def take(self, sync: Callable[[], Any], asynchronous: Callable[[], Any]) -> None:
        """Let each factory ask for its session when it makes an object."""

    def give_back(self) -> None:
        """Let each factory have what it declares."""

    def begin(self, *, commits: bool) -> None:
        """Let each factory commit what it makes, unless it declares otherwise and nobody waits."""

    def end(self) -> None:
        """Forget the session of the test."""

    def seed(self, number: int) -> None:
        """Let what is drawn at random be the same for the same number."""


class Sessions(Protocol):
    """What opens the sessions of a test: those that it has anyway, where it has any."""

    def session(self) -> AbstractContextManager[Session]:
        """Open a session, or join the test's."""

    def async_session(self) -> AbstractContextManager[AsyncSession]:
        """Open a session for asyncio, or join the test's."""
