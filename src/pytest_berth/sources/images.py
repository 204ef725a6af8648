"""Images of the container engine: those that are pulled, and those that hold a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pytest_berth.debug_log import ignoring
from pytest_berth.sources import engine_errors
from pytest_berth.sources.labels import PREFIX, USER, user
from pytest_berth.sources.snapshots import MOST, UNUSED
from pytest_berth.waiting import wall_clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_berth.api import Progress
    from pytest_berth.sources.container_engine import Engine

REPOSITORY = "pytest-berth/snapshot"
_SESSION = "org.testcontainers.session-id"
SNAPSHOT = f"{PREFIX}snapshot"
MADE = f"{PREFIX}made"
# Of a snapshot, above those of the image that it was made of.
_MOST_LAYERS = 8


def present(engine: Engine, image: str) -> bool:
    """Tell whether the engine has the image."""
    try:
        engine.images.get(image)
    except engine_errors.not_found():
        return False
    return True


def pull(engine: Engine, image: str, progress: Progress) -> None:
    """Pull the image, telling about it.

    Raises:
        docker.errors.DockerException: It could not be pulled.
    """
    from docker.errors import APIError
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(image)
    events = engine.client.client.api.pull(
        repository, tag=tag or "latest", stream=True, decode=True
    )
    for done, total in _sums(events, APIError):
        progress.update(f"pulling {image}", done, total)


def _sums(events: Iterable[dict[str, Any]], failure: type[Exception]) -> Iterable[tuple[int, int]]:
    """Add up what the engine tells of each layer."""
    layers: dict[str, tuple[int, int]] = {}
    for event in events:
        if "error" in event:
            raise failure(event["error"])
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            layers[event["id"]] = detail["current"], detail["total"]
        elif event.get("status") == "Download complete" and event.get("id") in layers:
            layers[event["id"]] = (layers[event["id"]][1],) * 2
        if layers:
            yield sum(done for done, _ in layers.values()), sum(all_ for _, all_ in layers.values())


def identity(engine: Engine, image: str) -> str:
    """Return the id of an image, whatever its tag is."""
    return str(engine.images.get(image).id)


def entry_point(image: Any) -> list[str]:
    """Return what an image's containers begin with, before their command."""
    return list(image.attrs["Config"].get("Entrypoint") or ())


def snapshot(engine: Engine, name: str, base: Any) -> str:
    """Return the id of the image that holds a snapshot, empty when there is none.

    Each time that one is stored anew it is a layer more, of which no engine takes any number.

    Args:
        engine: It has the images.
        name: The snapshot's.
        base: The image of which the snapshot was made.
    """
    try:
        found = engine.images.get(f"{REPOSITORY}:{name}")
    except engine_errors.not_found():
        return ""
    if _layers(found) - _layers(base) <= _MOST_LAYERS:
        return str(found.id)
    forget(engine, name)
    return ""


def _layers(image: Any) -> int:
    return len(image.attrs["RootFS"]["Layers"])


def store(container: Any, name: str) -> None:
    """Make a stopped container's files a snapshot, in the place of one of the same name."""
    container.commit(REPOSITORY, name, changes=_changes(container, name))


def request(container: Any, name: str) -> str:
    """Return the request, as path and query, by which an engine does what `store` does."""
    what = {"container": container.id, "repo": REPOSITORY, "tag": name}
    return f"/commit?{urlencode({**what, 'changes': _changes(container, name)})}"


def _changes(container: Any, name: str) -> str:
    # The container's own labels say whose it is, to us and to testcontainers' reaper. What starts
    # from the image is not that run's; the image is the user's.
    labels = dict.fromkeys(filter(_is_ours, container.labels), '""')
    labels.pop(USER, None)
    labels |= {_SESSION: "none", SNAPSHOT: name, MADE: f"{wall_clock():.3f}"}
    return "LABEL " + " ".join(f"{label}={value}" for label, value in labels.items())


def forget(engine: Engine, name: str) -> None:
    """Remove a snapshot, if it is there."""
    with ignoring(*engine_errors.api(), why=f"the snapshot {name} is gone, or in use"):
        engine.images.remove(f"{REPOSITORY}:{name}", force=True)


def snapshots(engine: Engine) -> list[Any]:
    """Return the images that hold snapshots of this user's, the newest first."""
    # Without the details of each, as another run may remove one between two questions.
    ours = {"label": [SNAPSHOT, f"{USER}={user()}"]}
    return sorted(engine.list_images(ours), key=made, reverse=True)


def make_room(engine: Engine, name: str) -> None:
    """Remove the snapshots that one more leaves no room for.

    These are all but the newest of the same service and project, and old ones of all.

    Args:
        engine: It has the images.
        name: That of the snapshot that is to be stored; one that has it stays.
    """
    found = [image for image in snapshots(engine) if image.attrs["Labels"][SNAPSHOT] != name]
    group, long_ago = f"{name.rpartition('-')[0]}-", wall_clock() - UNUSED
    ours = [image for image in found if image.attrs["Labels"][SNAPSHOT].startswith(group)]
    for old in {*ours[MOST - 1 :], *(image for image in found if made(image) < long_ago)}:
        with ignoring(*engine_errors.api(), why="a run may be using the snapshot"):
            remove(engine, old)


def remove(engine: Engine, image: Any, *, force: bool = False) -> None:
    """Remove a snapshot's own names from an image, and the image where it has no other.

    What a person has built from a snapshot has inherited its labels, but not its name.
    """
    own = [tag for tag in image.tags if tag.startswith(f"{REPOSITORY}:")]
    for name in own or ([image.id] if not image.tags else []):
        engine.images.remove(name, force=force)


def users(engine: Engine, image: Any) -> list[str]:
    """Return the names of the containers that were started from an image."""
    of_image = {"ancestor": image.id}
    listed = engine.client.client.api.containers(all=True, filters=of_image)
    return sorted(each["Names"][0].lstrip("/") for each in listed)


def own_size(engine: Engine, image: Any) -> int:
    """Return the bytes that a snapshot adds to the image that its server was started from."""
    newest, *_ = engine.client.client.api.history(image.id)
    return int(newest["Size"])


def _is_ours(label: str) -> bool:
    return label.startswith(PREFIX)


def made(image: Any) -> float:
    """Return when a snapshot was made, in seconds since 1970."""
    return float(image.attrs["Labels"][MADE])
