"""Which programs there are, told without starting any of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_berth.debug_log import ignoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# What a server takes over from the environment that it is started in.
_INHERITED = ("TZ", "LANG", "LANGUAGE", "LC_", "JAVA_", "JDK_JAVA_", "KAFKA_")


def file_fingerprints(paths: Iterable[Path]) -> Iterator[str]:
    """Yield a fingerprint of each existing file: its path, size and time of change."""
    for path in paths:
        with ignoring(OSError, why=f"{path} has no fingerprint"):
            found = path.stat()
            yield f"{path} {found.st_size} {found.st_mtime_ns}"


def inherited() -> Iterator[str]:
    """Yield the variables of the environment that servers heed."""
    yield from (f"{name}={os.environ[name]}" for name in sorted(os.environ) if _is_heeded(name))


def _is_heeded(name: str) -> bool:
    return name.startswith(_INHERITED)
