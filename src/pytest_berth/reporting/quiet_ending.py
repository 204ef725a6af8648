"""Hides what the application's clients print while servers end."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
    # After Ctrl-C nothing is captured any more; pytest has no public way to ask.
    if getattr(capture, "_global_capturing", None) is None:
        yield
        return
    capture.resume_global_capture()
    try:
        yield
    finally:
        capture.suspend_global_capture()
        out, err = capture.read_global_capture()
        _log.debug("printed while servers ended: %s%s", out, err)
