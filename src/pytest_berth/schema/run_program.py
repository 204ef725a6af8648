"""Runs a program to its end, without a shell and without a terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Finished:
    """How a program ended, and what it printed on stdout and stderr."""

    code: int
    output: str

    @property
    def how(self) -> str:
        """Return the end in words."""
        if self.code >= 0:
            return f"ended with exit status {self.code}"
        try:
            return f"was ended by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"was ended by signal {-self.code}"


def run(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> Finished:
    """Run a program and wait for its end.

    Raises:
        OSError: It could not be launched.
    """
    # A file and not a pipe: a pipe would wait for daemons that the program leaves behind.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output.seek(0)
        return Finished(done.returncode, output.read().decode("utf-8", "replace"))


def search_path(environment: Mapping[str, str]) -> str:
    """Return PATH with this interpreter's scripts first, as in an activated environment."""
    return os.pathsep.join(
        filter(None, (sysconfig.get_path("scripts"), environment.get("PATH", os.defpath)))
    )


def find(program: str, root: Path, environment: Mapping[str, str]) -> str | None:
    """Return the path of a program; one with a directory in it is relative to *root*."""
    if Path(program).name != program:
        return shutil.which(str(root / program))
    return shutil.which(program, path=search_path(environment))


def split(line: str) -> list[str]:
    """Split a command line into words.

    Raises:
        ValueError: A quotation mark is not closed.
    """
    # With posix=True, shlex would take the backslashes of a Windows path for escapes.
    if os.name == "posix":
        return shlex.split(line)
    return [word.strip("\"'") for word in shlex.split(line, posix=False)]
