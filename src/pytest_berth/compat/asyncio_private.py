"""asyncio's private names."""

from __future__ import annotations

import logging
from typing import Any


def abort(transport: Any) -> None:
    """Close a transport at once, whether or not its event loop is closed by now."""
    try:
        transport.abort()
    except RuntimeError as error:
        logging.getLogger("pytest_berth").debug("a connection's event loop is closed: %s", error)
        _close_socket(transport)


def _close_socket(transport: Any) -> None:
    """Close the socket, which a closed loop, that calls nothing back, would leave open."""
    sock = getattr(transport, "_sock", None)
    if sock is not None:
        transport._sock = None
        sock.close()
