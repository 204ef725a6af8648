"""Programs of Debian that tests start as local processes: installed where that is ours to do."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .engine import apt_install, can_apt, reason

if TYPE_CHECKING:
    from collections.abc import Iterator

# Debian asks it whether a package that is being installed may start its service.
POLICY = Path("/usr/sbin/policy-rc.d")
FORBIDDEN = "#!/bin/sh\nexit 101\n"
# Each program that tests start, and the package that has it.
PACKAGES = {
    "mariadbd": "mariadb-server",
    "memcached": "memcached",
    "rabbitmq-server": "rabbitmq-server",
}


@dataclass(frozen=True)
class Program:
    """A program that tests start.

    Attributes:
        name: Of the program.
        path: Where it is; empty where it could not be had.
        detail: How it was had, or why it was not.
    """

    name: str
    path: str
    detail: str


def get_program(name: str, package: str) -> Program:
    """Return a program, installing *package* where it is missing and apt may be used."""
    if path := shutil.which(name):
        return Program(name, path, "was already installed")
    if not can_apt():
        return Program(name, "", f"not installed; installing it needs root, and apt: {package}")
    try:
        print(f"Installing {package} ...", flush=True)
        with _no_service_started():
            apt_install(package)
    except (OSError, subprocess.SubprocessError) as error:
        return Program(name, "", f"could not be installed: {reason(error)}")
    return Program(name, shutil.which(name) or "", "installed here")


@contextmanager
def _no_service_started() -> Iterator[None]:
    """Keep packages from starting their service: tests start servers of their own."""
    if POLICY.exists():  # The machine has a rule of its own, as images of Debian do.
        yield
        return
    try:
        POLICY.write_text(FORBIDDEN, encoding="ascii")
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)
