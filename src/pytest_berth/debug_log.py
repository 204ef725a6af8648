"""The debug log, under the name ``pytest_berth``: each step, and what was passed over.

``logging`` is not imported here: where nobody has, nobody listens.
"""

from __future__ import annotations

import sys
from contextlib import suppress  # noqa: TID251
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from types import TracebackType


def debug(text: str, *values: object) -> None:
    """Write a line, for whoever has switched the debug level on; it tells who has called this."""
    if is_on():
        sys.modules["logging"].getLogger(NAME).debug(text, *values, stacklevel=2)


def is_on() -> bool:
    """Tell whether anybody may see the lines."""
    if not _found and "logging" in sys.modules:
        _found.append(sys.modules["logging"].getLogger(NAME))
    return bool(_found) and _found[0].isEnabledFor(_DEBUG)


NAME = "pytest_berth"
_DEBUG = 10  # logging.DEBUG
# The logger: to look it up takes a lock, and each test asks several times.
_found: list[logging.Logger] = []


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
