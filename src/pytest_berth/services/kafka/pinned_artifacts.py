"""Kafka's jars, pinned: the broker's, and all that it needs at run time.

``tools/pin_kafka.py`` writes the pins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from pytest_berth.sources.artifacts import Artifact, fetch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_berth.api import Progress


@cache
def pins() -> Mapping[str, tuple[Artifact, ...]]:
    """Return the pinned jars by Kafka's version."""
    text = resources.files(__package__ or "").joinpath("pins.json").read_text(encoding="utf-8")
    return {
        version: tuple(Artifact(coordinates, **pin) for coordinates, pin in jars.items())
        for version, jars in json.loads(text).items()
    }


def class_path(version: str, *, cache: Path, mirror: str, progress: Progress) -> tuple[Path, ...]:
    """Return a Kafka version's jars, downloading those that are not there yet.

    Raises:
        ArtifactError: One could not be downloaded, is not what is pinned, or cannot be stored.
    """
    jars = pins()[version]
    whole = _Whole(progress, f"Kafka {version}", sum(jar.size for jar in jars))
    return tuple(_fetched(jar, cache, mirror, whole) for jar in jars)


def _fetched(jar: Artifact, cache: Path, mirror: str, progress: _Whole) -> Path:
    from pytest_berth.sources.unpacking import copy_jar

    tree = fetch(jar, copy_jar, cache=cache, mirror=mirror, progress=progress)
    progress.before += jar.size
    return tree / f"{jar.name}.jar"


@dataclass
class _Whole:
    """Shows the download of many jars as one."""

    progress: Progress
    label: str
    total: int
    before: int = 0

    def note(self, text: str) -> None:
        """Print a line."""
        self.progress.note(text)

    def update(self, label: str, done: int, total: int | None) -> None:
        """Show a jar's progress as a part of the whole."""
        self.progress.update(self.label, self.before + done, self.total)

    def phase(self, what: str, text: str) -> None:
        """Show what is being done."""
        self.progress.phase(what, text)
