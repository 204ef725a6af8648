"""What ``pytest-berth prune`` removes of the cache and of the engine: snapshots and downloads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_berth.cli.lines import Lines
from pytest_berth.cli.removable import Removable, size_of
from pytest_berth.sources import artifacts, images, snapshots
from pytest_berth.sources.container import removal
from pytest_berth.sources.container_engine import EngineUnreachableError, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_berth.sources.container_engine import Engine


def stored_snapshots() -> Iterator[Removable]:
    """Yield the snapshots of all projects of this user: directories, and images of the engine."""
    for path in snapshots.directories():
        yield _of_directory(path)
    try:
        engine = connect()
    except EngineUnreachableError as error:
        Lines().note(f"no container engine answers, so none is asked: {error}")
        return
    for image in images.snapshots(engine):
        yield _of_image(engine, image)


def downloads() -> Iterator[Removable]:
    """Yield the downloads in the cache that have the record of this user's."""
    found = artifacts.stored()
    running = _command_lines() if found.ours else []
    for path in found.ours:
        users = [pid for pid, words in running if f"{path}/" in words or f"{path}\\" in words]
        in_use = f"the process {users[0]} runs from it" if users else ""
        remove, used = partial(artifacts.forget, path), artifacts.used(path)
        yield Removable(path.name, f"download  {path}", remove, used, size_of(path), in_use)
    if found.unproven:
        count, place = len(found.unproven), found.unproven[0].parent
        Lines().note(
            f"{count} in {place} stay: nothing proves that berth has made them, as they are of a"
            " former version, or another user's"
        )


def _of_directory(path: Path) -> Removable:
    snapshot = snapshots.StoredSnapshot(path.name)
    line = f"snapshot  {path}"
    return Removable(path.name, line, snapshot.discard, snapshots.used(path), size_of(path))


def _of_image(engine: Engine, image: Any) -> Removable:
    name = " ".join(image.tags) or image.short_id
    users = images.users(engine, image)

    def remove() -> None:
        with removal():  # a run may be using it
            images.remove(engine, image, force=True)

    in_use = f"the container {users[0]} is of it" if users else ""
    size = images.own_size(engine, image)
    return Removable(name, f"snapshot  {name}", remove, images.made(image), size, in_use)


def _command_lines() -> list[tuple[int, str]]:
    """Return the ids of processes, with their programs' paths and arguments."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "exe", "cmdline"]):
        told = process.info
        words = [told["exe"] or "", *(told["cmdline"] or ())]
        found.append((told["pid"], "\n".join(words)))
    return found
