"""Finds the line of the application, or of a test, that something was done at.

It is asked for each statement that a test sends, so what a file is gets looked up once.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.compat import sqlalchemy_private

if TYPE_CHECKING:
    from types import FrameType

_STDLIB = os.path.dirname(os.__file__)  # noqa: PTH120
_LIBRARIES = ("site-packages", "dist-packages", "<", _STDLIB)
_OURS = f"{os.path.dirname(os.path.dirname(__file__))}{os.sep}"  # noqa: PTH120
# Between the application and its driver: what is called by them is theirs.
_BETWEEN = ("_hooks.py", "recorder.py", "foreign_connections.py")
# What a file is.
_APPLICATION, _LIBRARY, _OURSELVES, _ALCHEMY, _LOADING, _CONNECTING = range(6)
_known: dict[str, int] = {}
# A line is sent from again and again: in loops, and by each test.
_lines: dict[tuple[str, int], Line] = {}


class Line(NamedTuple):
    """A line of the application, or of a test; without a path where none can be seen.

    Of a connection that was opened earlier, only the module is known, and its name there.

    Attributes:
        relationship: The relationship that SQLAlchemy loads there as its attribute is read:
            ``"Order.lines"``; empty for anything else.
    """

    path: str = ""
    number: int = 0
    function: str = ""
    relationship: str = ""

    def __str__(self) -> str:
        if not self.number:
            return f"{self.path}, when it was imported: {self.function}"
        return f"{self.path}:{self.number}, in {self.function}"


def caller(frame: FrameType | None = None, *, past_alchemy: bool = True) -> Line | None:
    """Return the innermost line that is of no library; empty if there is none, None if ours.

    What SQLAlchemy asks a server for as it connects, beside the application, is taken for ours.

    Args:
        frame: Where to begin; left out for the caller's.
        past_alchemy: Whether what SQLAlchemy does for the application is of interest; None is
            returned for it otherwise.
    """
    current = frame or sys._getframe(1)
    greenlet: Any = None
    relationship = ""
    while True:
        code = current.f_code
        path = code.co_filename
        kind = _known.get(path)
        if kind is None:
            kind = _known[path] = _kind(path)
        if kind == _APPLICATION:
            place = path, current.f_lineno
            line = _lines.get(place)
            if line is None:
                line = _lines[place] = Line(*place, code.co_name)
            return line._replace(relationship=relationship) if relationship else line
        if kind > _LIBRARY:
            if kind == _OURSELVES or not past_alchemy:
                return None
            if kind == _LOADING:
                relationship = relationship or sqlalchemy_private.loaded_relationship(current)
            elif kind == _CONNECTING and code.co_name == sqlalchemy_private.CONNECTING:
                return None
        outer = current.f_back
        if outer is None:
            greenlet, outer = _outside(greenlet)
            if outer is None:
                return Line()
        current = outer


def beyond_ours(frame: FrameType) -> Line:
    """Return the innermost line of the application that has called our code; empty if none has."""
    current: FrameType | None = frame
    while current is not None:
        path = current.f_code.co_filename
        if _known.setdefault(path, _kind(path)) == _APPLICATION:
            return Line(path, current.f_lineno, current.f_code.co_name)
        current = current.f_back
    return Line()


def is_library(path: str) -> bool:
    """Tell whether a file is of no suite or application, but of a library, or none at all."""
    return any(part in path for part in _LIBRARIES)


def _kind(path: str) -> int:
    if path.startswith(_OURS):
        return _LIBRARY if path.endswith(_BETWEEN) else _OURSELVES
    if path.endswith(sqlalchemy_private.LOADING):
        return _LOADING
    if path.endswith(sqlalchemy_private.SETTING_UP):
        return _CONNECTING
    if sqlalchemy_private.PACKAGE in path:
        return _ALCHEMY
    return _LIBRARY if is_library(path) else _APPLICATION


def _outside(inner: Any) -> tuple[Any, FrameType | None]:
    """Return the greenlet around the given one, or around the running one, and where it waits.

    SQLAlchemy's asyncio runs its sync code in greenlets, whose frames end with their own first.
    """
    module = sys.modules.get("greenlet")
    if module is None:
        return None, None
    outer = (inner or module.getcurrent()).parent
    return outer, None if outer is None else outer.gr_frame
