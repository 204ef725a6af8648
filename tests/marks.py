"""Marks of this suite."""

from __future__ import annotations

from typing import Any

import pytest


def slow(*values: Any) -> list[Any]:
    """Return values of a parameter that `nox -s slow` tries, and `nox -s tests` leaves out.

    They repeat with another source, signal or plugin what a value in the usual run shows.
    """
    tuples = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*value, marks=pytest.mark.slow) for value in tuples]
