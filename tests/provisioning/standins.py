"""Building stand-ins: a Debian base where none can be pulled, then ``docker build``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .artifacts import save
from .engine import apt_install, can_apt

if TYPE_CHECKING:
    from collections.abc import Callable

    from .engine import Engine
    from .recipes import Recipe

STAND_IN_LABEL = "org.pytest-berth.stand-in"
FINGERPRINT_LABEL = "org.pytest-berth.stand-in.fingerprint"
OFFICIAL_BASE = "debian:bookworm-slim"
OWN_BASE = "pytest-berth/debian:bookworm"
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
# What makes the program that no registry has ready-made.
BUILD, PROGRAM = "build.sh", "program"
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def build(recipe: Recipe, engine: Engine, pull: Callable[[str], bool]) -> None:
    """Build the stand-in of *recipe* for the engine's architecture.

    Args:
        recipe: What to build.
        engine: Where to build it.
        pull: Pulls an image by its name, and tells whether that succeeded.

    Raises:
        OSError: An artifact could not be downloaded, or a program is missing.
        ValueError: An artifact has a wrong checksum, or there is none for the architecture.
        subprocess.SubprocessError: A step failed; its output is in ``output``.
    """
    if engine.arch not in recipe.artifacts:
        raise ValueError(f"{recipe.image}: no server binaries are pinned for {engine.arch}")
    base = _base(engine, pull)
    print(f"Building a stand-in for {recipe.image} from {folder_name(recipe)} ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="berth-image-") as scratch:
        context = shutil.copytree(recipe.folder, Path(scratch, "context"))
        for artifact in recipe.artifacts[engine.arch]:
            save(artifact, context)
        if (script := context / BUILD).exists():
            _run("bash", str(script), str(context / PROGRAM), timeout=900)
        _run(*_build_command(recipe, base), str(context), timeout=900)


def folder_name(recipe: Recipe) -> str:
    """Return the folder of *recipe* as seen from the repository's root."""
    return f"tests/images/{recipe.folder.name}"


def _build_command(recipe: Recipe, base: str) -> list[str]:
    arguments = {"BASE": base, **recipe.build_args}
    arguments |= {name: os.environ[name] for name in PROXIES if name in os.environ}
    labels = {STAND_IN_LABEL: "true", FINGERPRINT_LABEL: recipe.fingerprint}
    command = ["docker", "build", "--network", "host", "--tag", recipe.image]
    command += [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
    return command + [word for item in labels.items() for word in ("--label", "=".join(item))]


def _base(engine: Engine, pull: Callable[[str], bool]) -> str:
    for name in (OFFICIAL_BASE, OWN_BASE):
        if _is_present(name):
            return name
    if pull(OFFICIAL_BASE):
        return OFFICIAL_BASE
    _make_base(engine)
    return OWN_BASE


def _make_base(engine: Engine) -> None:
    """Make a Debian root and import it; needs root, and the engine's own architecture."""
    if os.geteuid() != 0:
        raise PermissionError(f"{OFFICIAL_BASE} could not be pulled, and debootstrap needs root")
    if not shutil.which("debootstrap") and can_apt():
        apt_install("debootstrap")
    print(f"Making {OWN_BASE} with debootstrap (once, about a minute) ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="berth-debian-") as scratch:
        root = Path(scratch, "root")
        kind = ("--variant=minbase", f"--arch={engine.arch}")
        _run("debootstrap", *kind, SUITE, str(root), MIRROR, timeout=900)
        shutil.rmtree(root / "var/cache/apt/archives")
        archive = Path(scratch, "root.tar")
        _run("tar", "-C", str(root), "--one-file-system", "-cf", str(archive), ".", timeout=300)
        label = f"LABEL {STAND_IN_LABEL}=true"
        _run("docker", "import", "--change", label, str(archive), OWN_BASE, timeout=300)


def _is_present(name: str) -> bool:
    inspect = ["docker", "image", "inspect", name]
    return subprocess.run(inspect, capture_output=True, check=False).returncode == 0


def _run(*command: str, timeout: float) -> None:
    subprocess.run(
        command,
        check=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
