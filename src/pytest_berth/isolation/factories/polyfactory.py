"""polyfactory's factories of SQLAlchemy models; they have no sequences."""

from __future__ import annotations

import sys
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_NAMES = ("__session__", "__async_session__", "__persistence_method__", "__random__")
_MISSING = object()


def bases() -> Sequence[type]:
    """Return the class that all of these derive from, where anybody has imported it."""
    module: Any = sys.modules.get("polyfactory.factories.sqlalchemy_factory")
    return [module.SQLAlchemyFactory] if module else []


class Factories:
    """Factories of a run."""

    sequences: Sequence[int | None] = ()

    def __init__(self, classes: Collection[Any]) -> None:
        self._classes = list(classes)
        self._declared = [
            [vars(each).get(name, _MISSING) for name in _NAMES] for each in self._classes
        ]
        self._persistence = [getattr(each, _NAMES[2], None) for each in self._classes]

    def take(self, sync: Callable[[], Any], asynchronous: Callable[[], Any]) -> None:
        """Let each factory ask for its session when it makes an object."""
        for each in self._classes:
            each.__session__ = sync
            each.__async_session__ = asynchronous

    def give_back(self) -> None:
        """Let each factory have what it declares."""
        for each, values in zip(self._classes, self._declared, strict=True):
            for name, value in zip(_NAMES, values, strict=True):
                if value is not _MISSING:
                    setattr(each, name, value)
                elif name in vars(each):
                    delattr(each, name)

    def begin(self, *, commits: bool) -> None:
        """Let each factory commit what it makes, unless it declares otherwise and nobody waits.

        Args:
            commits: Whether others look for the rows, so that they have to be committed.
        """
        for each, declared in zip(self._classes, self._persistence, strict=True):
            if declared is not None:  # older versions always commit
                each.__persistence_method__ = type(declared).COMMIT if commits else declared

    def end(self) -> None:
        """Do nothing: no factory keeps a session."""

    def seed(self, number: int) -> None:
        """Let what is drawn at random be the same for the same number."""
        drawn = Random(number)
        for each in self._classes:
            each.__random__ = drawn
        for faker in {id(each.__faker__): each.__faker__ for each in self._classes}.values():
            faker.seed_instance(number)
