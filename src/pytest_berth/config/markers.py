"""The markers, and the check of their arguments: a call of a function with their signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.errors import SettingsError, nearest, together

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import pytest

    from pytest_berth.config.descriptor import Service

INTEGRATION_NAME = "integration"
INTEGRATION = "integration: the test needs a real server (applied by pytest-berth itself)"


def lines(services: Iterable[Service]) -> list[str]:
    """Return how ``pytest --markers`` tells of the markers."""
    return [INTEGRATION, *(service.marker.line for service in services)]


def check(
    item: pytest.Item, signatures: Mapping[str, Callable[..., Any]], registered: Collection[str]
) -> None:
    """Check the names and arguments of a test's markers, whether it reaches a server or not.

    Args:
        item: The test.
        signatures: The functions whose parameters the services' markers have, by their names.
        registered: Names of the markers that pytest knows.

    Raises:
        SettingsError: A marker looks like one of ours and is none, or has a wrong argument.
    """
    for mark in item.iter_markers():
        if mark.name in signatures:
            read(item, signatures[mark.name])
        elif mark.name.startswith("berth") and mark.name not in registered:
            raise SettingsError(
                f"there is no marker {mark.name!r}.",
                why=f"it is given at {item.nodeid}",
                remedy=nearest(mark.name, signatures),
            )


def read(item: pytest.Item, signature: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of all of a test's markers of a name, the nearest first.

    Raises:
        SettingsError: Markers were given arguments that they do not have; it tells all of them.
    """
    name = signature.__name__
    marks = [*item.iter_markers(name)]
    if not marks:
        return {}
    import inspect

    known = inspect.signature(signature).parameters
    arguments: dict[str, Any] = {}
    problems = []
    for mark in marks:
        problems += [
            SettingsError(
                f"@pytest.mark.{name} has no argument {argument!r}.",
                why=f"it is given at {item.nodeid}",
                remedy=nearest(argument, known),
            )
            for argument in mark.kwargs
            if argument not in known
        ]
        if mark.args:
            problem = SettingsError(
                f"@pytest.mark.{name} takes its arguments by name only.",
                why=f"{', '.join(map(repr, mark.args))} is given at {item.nodeid}",
                remedy=f"use {', '.join(f'{key}=...' for key in known)}",
            )
            problems.append(problem)
        arguments = {**mark.kwargs, **arguments}
    found = together(problems)
    if found:
        raise found
    return arguments
