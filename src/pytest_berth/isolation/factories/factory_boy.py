"""factory_boy's factories of SQLAlchemy models."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_berth.compat import factory_boy_private

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_COMMIT = "commit"
_NAMES = ("sqlalchemy_session", "sqlalchemy_session_factory", "sqlalchemy_session_persistence")


def bases() -> Sequence[type]:
    """Return the class that all of these derive from, where anybody has imported it."""
    module: Any = sys.modules.get("factory.alchemy")
    return [module.SQLAlchemyModelFactory] if module else []


class Factories:
    """Factories of a run."""

    def __init__(self, classes: Collection[Any]) -> None:
        self._options = [each._meta for each in classes]  # noqa: SLF001  documented
        shared = map(factory_boy_private.first_factory, self._options)
        self._counting = list({id(each): each for each in (*self._options, *shared)}.values())
        self._declared = [[getattr(each, name) for name in _NAMES] for each in self._options]

    def take(self, sync: Callable[[], Any], asynchronous: Callable[[], Any]) -> None:
        """Let each factory ask for its session when it makes an object."""
        for each in self._options:
            each.sqlalchemy_session_factory = sync

    def give_back(self) -> None:
        """Let each factory have the session that it declares."""
        for each, values in zip(self._options, self._declared, strict=True):
            for name, value in zip(_NAMES, values, strict=True):
                setattr(each, name, value)

    def begin(self, *, commits: bool) -> None:
        """Let each factory commit what it makes, unless it declares otherwise and nobody waits.

        Args:
            commits: Whether others look for the rows, so that they have to be committed.
        """
        for each, (*_, declared) in zip(self._options, self._declared, strict=True):
            persistence = _COMMIT if commits else declared or _COMMIT
            each.sqlalchemy_session_persistence = persistence

    def end(self) -> None:
        """Forget the session of the test."""
        for each in self._options:
            each.sqlalchemy_session = None

    def seed(self, number: int) -> None:
        """Let what is drawn at random be the same for the same number."""
        import_module("factory.random").reseed_random(number)

    @property
    def sequences(self) -> Sequence[int | None]:
        """Where each sequence stands."""
        return [factory_boy_private.sequence(each) for each in self._counting]

    @sequences.setter
    def sequences(self, numbers: Sequence[int | None]) -> None:
        for each, number in zip(self._counting, numbers, strict=True):
            factory_boy_private.set_sequence(each, number)
