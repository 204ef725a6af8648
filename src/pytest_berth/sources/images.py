"""Images of the container engine: is one there, can it be pulled?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_berth.service import Progress
    from pytest_berth.sources.engine import Engine


def present(engine: Engine, image: str) -> bool:
    """Tell whether the engine has the image."""
    from docker.errors import ImageNotFound

    try:
        engine.client.client.images.get(image)
    except ImageNotFound:
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
