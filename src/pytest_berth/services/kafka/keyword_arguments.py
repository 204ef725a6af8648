"""Arguments that are given by name, and a helpful error where they are not."""

from __future__ import annotations

from functools import wraps
from inspect import Parameter, signature
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def by_name(method: Callable[P, T]) -> Callable[P, T]:
    """Say in a `TypeError` what a method's arguments are called, where they are given otherwise.

    Args:
        method: A method with keyword-only arguments.
    """
    parameters = signature(method).parameters
    named = [each.name for each in parameters.values() if each.kind is Parameter.KEYWORD_ONLY]
    places = [each for each in parameters if each not in named]

    @wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True
        unknown = sorted(kwargs.keys() - parameters.keys())
        if unknown:
            raise TypeError(f"{method.__name__}() has no argument {unknown[0]!r}; {_usage()}")
        if len(args) > len(places):
            surplus = args[len(places)]
            raise TypeError(
                f"{method.__name__}() cannot tell which argument {surplus!r} is; {_usage()}"
            )
        return method(*args, **kwargs)

    def _usage() -> str:
        return (
            f"after {', '.join(places[1:])} it takes arguments by name:"
            f" {', '.join(f'{name}=...' for name in named)}"
        )

    return checked
