"""Hides what the application's clients print while servers end."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_berth.compat import pytest_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

_log = logging.getLogger("pytest_berth")


@contextmanager
def while_servers_end(config: pytest.Config) -> Iterator[None]:
    """Capture what is printed meanwhile, as during tests, and leave it out.

    Clients of the application that are still open, in threads, tell of refused connections again
    and again. With ``-s`` they are shown.
    """
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    if not pytest_private.is_capturing(capture):
        yield
        return
    capture.resume_global_capture()
    try:
        yield
    finally:
        capture.suspend_global_capture()
        out, err = capture.read_global_capture()
        _log.debug("printed while servers ended: %s%s", out, err)
