"""Looks, at collection, whether schema and seeds can work at all."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_berth.collection.requirements import overridden_in
from pytest_berth.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest

    from pytest_berth.schema.steps import Step


def checked(lines: object, parse: Callable[[object], Sequence[Step]], place: str) -> Sequence[Step]:
    """Return the steps of lines that were looked at.

    Args:
        lines: The lines, or objects.
        parse: Makes steps of them.
        place: Where they were written, for errors.

    Raises:
        SettingsError: A line, a path, a module or an attribute is wrong.
    """
    with naming(place):
        steps = parse(lines)
        for step in steps:
            step.check()
    return steps


def require_one_definition(items: Sequence[pytest.Item], fixture: str) -> None:
    """Look whether all tests get a fixture from one place, as a run has one template.

    Raises:
        SettingsError: It is overridden for some of them.
    """
    found: dict[str, pytest.Item] = {}
    for item in items:
        place = overridden_in(item, fixture)
        # A test of the server alone has none before it runs.
        if place:
            found.setdefault(place, item)
    if len(found) > 1:
        raise SettingsError(
            f"{fixture} is overridden for some of the tests only.",
            why=", ".join(f"{item.nodeid} gets it from {place}" for place, item in found.items()),
            remedy="override it once, in the top conftest.py",
        )


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Add to a settings error where the wrong value was written."""
    try:
        yield
    except SettingsError as error:
        why = "\n".join(filter(None, [error.why, place]))
        raise SettingsError(error.what, why=why, remedy=error.remedy) from None
