"""Defines what can go wrong in a restore, as errors that the caller tells apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.advice import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Sequence


SHOWN = 8


class NotRepairable(IsolationError):  # noqa: N818 - it says what the database is
    """The baseline cannot be put back by changing rows; the database must be replaced."""


class CloneIsFasterError(Exception):
    """Restoring would take longer than a new clone of the template: nothing was put back."""


class SchemaChanged(NotRepairable):
    """The catalog differs from the baseline: objects were created, altered or dropped."""

    def __init__(self, differences: Sequence[str]) -> None:
        super().__init__(
            "The test changed the schema of its database.",
            why=listing(differences),
            remedy="undo the change before the test ends, or give the test a private database: "
            + PRIVATE,
        )
        self.differences = tuple(differences)


class BaselineLost(NotRepairable):
    """The connection that keeps the copies of the seeded rows is gone."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(
            "The connection that keeps the baseline was closed.",
            why=str(reason).strip(),
            remedy="end only the connections of the test; the baseline's is named by "
            "application_name in pg_stat_activity;"
            f" or give the test a private database: {PRIVATE}",
        )


def listing(lines: Sequence[str]) -> str:
    """Return *lines* one below the other, the many cut short."""
    rest = len(lines) - SHOWN
    return "\n".join([*lines[:SHOWN], *([f"and {rest} more"] if rest > 0 else [])])
