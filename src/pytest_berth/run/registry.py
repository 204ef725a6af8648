"""The registry: what all processes of a run know about its servers, as files in its directory."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_berth.api import Credentials, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


STAGES = ("planned", "launched", "ready")


@dataclass(frozen=True)
class Registry:
    """The servers of a run, with a file for each stage that a server has reached.

    The stages are ``planned`` (its address is settled), ``launched`` (there is something to be
    stopped) and ``ready`` (it answers).
    """

    directory: Path

    def write(self, stage: str, server: Server) -> None:
        """Note that a server has reached a stage; readers see the whole file or none."""
        path = self._path(stage, server.key)
        partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(asdict(server), stream)
        partial.replace(path)

    def read(self, stage: str, key: str) -> Server | None:
        """Return the server with this key as it was noted at a stage, None where it was not."""
        path = self._path(stage, key)
        return _load(path) if path.exists() else None

    def remove(self, stage: str, server: Server) -> None:
        """Remove the note that a server has reached a stage."""
        self._path(stage, server.key).unlink(missing_ok=True)

    def forget(self, server: Server) -> None:
        """Remove all notes of a server that is gone."""
        for stage in STAGES:
            self.remove(stage, server)

    def all(self, stage: str) -> Iterator[Server]:
        """Yield every server that has reached a stage."""
        for path in sorted(self.directory.glob(f"*.{stage}.json")):
            yield _load(path)

    def _path(self, stage: str, key: str) -> Path:
        return self.directory / f"{key}.{stage}.json"


def lost(directory: Path, server: Server) -> Path:
    """Return the file that says that a server is lost, and why where that is known."""
    return directory / f"{server.key}.lost-{server.restarts}"


def load(fields: Mapping[str, Any]) -> Server:
    """Return the server that a mapping describes; fields that are not known are left out."""
    known = {each.name for each in dataclasses.fields(Server)}
    given = {name: value for name, value in fields.items() if name in known}
    return Server(**{**given, "credentials": Credentials(**given["credentials"])})


def _load(path: Path) -> Server:
    return load(json.loads(path.read_text()))
