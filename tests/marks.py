"""Marks of this suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def slow(*values: Any) -> list[Any]:
    """Return values of a parameter that `nox -s slow` tries, and `nox -s tests` leaves out.

    They repeat with another source, signal or plugin what a value in the usual run shows.
    """
    tuples = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*value, marks=pytest.mark.slow) for value in tuples]


def nightly(*values: Any) -> list[Any]:
    """Return values of a parameter that only `nox -s nightly` tries, as each takes long."""
    tuples = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*value, marks=pytest.mark.nightly) for value in tuples]


def usual(names: Iterable[str], *chosen: str) -> list[Any]:
    """Return names as values of a parameter, in their order: all but the chosen ones are slow."""
    return [name if name in chosen else slow(name)[0] for name in names]
