"""The stand-ins that can be built: one folder of ``tests/images`` for each kind of server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .artifacts import Artifact

FOLDER = Path(__file__).parents[1] / "images"


@dataclass(frozen=True)
class Recipe:
    """How the stand-in of one official image is built.

    Attributes:
        image: The official image's name, which the stand-in takes.
        folder: Its Dockerfile and what that copies.
        wanted: Whether the suite uses it, so that it is made without being asked for.
        build_args: Passed to the Dockerfile.
        artifacts: What is downloaded into the build context, for each architecture.
    """

    image: str
    folder: Path
    wanted: bool
    build_args: dict[str, str]
    artifacts: dict[str, list[Artifact]]

    @property
    def fingerprint(self) -> str:
        """A digest of all that goes in, so that an outdated stand-in is known as such."""
        digest = hashlib.sha256(repr((self.image, self.build_args, self.artifacts)).encode())
        for path in sorted(self.folder.iterdir()):
            if path.name != "image.json":
                digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()[:16]


def read_recipes(folder: Path = FOLDER) -> dict[str, Recipe]:
    """Return all recipes by the name of their image."""
    recipes = [
        _parse(image, fields, path.parent)
        for path in sorted(folder.glob("*/image.json"))
        for image, fields in _fields(path).items()
    ]
    return {recipe.image: recipe for recipe in recipes}


def _fields(path: Path) -> dict[str, Any]:
    """Return the fields of each image; the artifacts may be those of another one, by its name."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for fields in found.values():
        if isinstance(fields["artifacts"], str):
            fields["artifacts"] = found[fields["artifacts"].removeprefix("as ")]["artifacts"]
    return found


def _parse(image: str, fields: dict[str, Any], folder: Path) -> Recipe:
    artifacts = {
        arch: [Artifact.parse(entry) for entry in entries]
        for arch, entries in fields["artifacts"].items()
    }
    return Recipe(image, folder, fields["wanted"], fields["build_args"], artifacts)
