"""Which images are here: those of the suite are made without being asked for, others are not."""

from __future__ import annotations

import shutil
import subprocess


def has_image(name: str) -> bool:
    """Tell whether an image is there: a registry need not be."""
    if not shutil.which("docker"):
        return False
    command = ["docker", "image", "inspect", name]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
