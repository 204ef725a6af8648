"""The account that local servers run under: ours, or an unprivileged one when we are root."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# Not postgres: where a machine has one, its databases are that user's.
_CANDIDATES = ("nobody", "daemon")


def is_root() -> bool:
    """Tell whether this process is root; never so on Windows."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


@cache
def _unprivileged() -> tuple[int, int]:
    import pwd

    for name in _CANDIDATES:
        with ignoring(KeyError, why=f"there is no user {name}"):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise StartError(
        "as root, a local server needs an unprivileged user to run as.",
        why=f"none of {', '.join(_CANDIDATES)} exists here",
        remedy="run pytest as another user than root, or create one: useradd --system nobody",
    )


def environment() -> dict[str, str]:
    """Return what a server inherits: nothing that PostgreSQL would take for its settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def identity() -> dict[str, Any]:
    """Return the arguments that make `subprocess.Popen` run as the server's user."""
    if not is_root():
        return {}
    user, group = _unprivileged()
    return {"user": user, "group": group, "extra_groups": []}


def give(path: Path) -> None:
    """Make the server's user the owner of a file or directory of ours."""
    if is_root():
        os.chown(path, *_unprivileged(), follow_symlinks=False)


def write(path: Path, content: bytes) -> None:
    """Write a file that only the server's user can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    give(path)


def run(command: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as the server's user, its output collected.

    Raises:
        StartError: There is no such program, or that user may not run it.
    """
    with telling_what_cannot_run(command[0]):
        return subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=environment(),
            **identity(),
        )


@contextmanager
def telling_what_cannot_run(program: str) -> Iterator[None]:
    """Raise a `StartError` where a program of a server cannot be run at all."""
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        as_whom = "; as root, berth runs servers as an unprivileged user" if is_root() else ""
        raise StartError(
            f"{program} could not be run.",
            why=f"{error.strerror}: {error.filename}{as_whom}",
            remedy="install it where every user may run it, or use a container: berth_source",
        ) from error
