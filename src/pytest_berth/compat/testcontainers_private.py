"""testcontainers' private names."""

from __future__ import annotations

from typing import Any


def reaper_container() -> Any:
    """Return the container of its reaper, which is started if it is not there."""
    from testcontainers.core.container import Reaper

    Reaper.get_instance()
    container = Reaper._container
    assert container is not None, "an instance has a container"
    return container
