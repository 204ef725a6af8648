"""Marks of this suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def nightly(*values: Any) -> list[Any]:
    """Return values of a parameter that only `nox -s nightly` tries.

    They repeat with another source, signal or plugin what a value in the usual run shows.
    """
    tuples = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*value, marks=pytest.mark.nightly) for value in tuples]


def usual(names: Iterable[str], *chosen: str) -> list[Any]:
    """Return names as values of a parameter, in their order: `nightly`, but for the chosen ones."""
    return [name if name in chosen else nightly(name)[0] for name in names]
