"""What a worker has of a service of any image: the whole server, emptied after each test."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_berth.api import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from pytest_berth.api import Server


class GenericNamespace(Namespace):
    """A server that one worker empties after each of its tests, if there is a way to.

    Args:
        url: Address of its first port.
        empties: Empties the server; None where nothing does.
    """

    def __init__(self, url: str, empties: Callable[[], None] | None) -> None:
        self.url = url
        self._empties = empties
        self._is_clean = False

    @contextmanager
    def isolate(self, item: pytest.Item | None) -> Iterator[None]:
        """Give a test a server without another test's data, and empty it afterwards.

        Raises:
            IsolationError: It could not be emptied.
        """
        if not self._is_clean:
            self.reset()
        self._is_clean = self._empties is None
        try:
            yield
        finally:
            if not self.dedicated:
                self.reset()

    def reset(self) -> None:
        """Empty the server."""
        if self._empties:
            self._empties()
        self._is_clean = True

    def reopen(self, server: Server) -> None:
        """Go on with the server in the place of a lost one: nothing is on it."""
        self._is_clean = True
