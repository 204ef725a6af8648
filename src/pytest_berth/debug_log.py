"""The debug log, under the name ``pytest_berth``: what was passed over, and why that is right."""

from __future__ import annotations

from contextlib import suppress  # noqa: TID251
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


def debug(text: str, *values: object) -> None:
    """Write a line; ``logging`` is imported only now, as an idle run has no lines."""
    import logging

    logging.getLogger("pytest_berth").debug(text, *values)


class ignoring(suppress):  # noqa: N801 - named as `contextlib.suppress` is
    """Suppress errors, and write each of them to the debug log.

    Args:
        kinds: What is suppressed.
        why: What it is of, or why nothing is lost by it.
    """

    def __init__(self, *kinds: type[BaseException], why: str) -> None:
        super().__init__(*kinds)
        self.why = why

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Tell whether the error is suppressed."""
        ignored = super().__exit__(kind, error, trace)
        if ignored:
            debug("%s: %s: %s", self.why, type(error).__name__, error)
        return ignored
