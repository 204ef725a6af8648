"""What a service is served from on this machine, and of what: images, programs, files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth.sources.choose import may_serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.api import Service, Source
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError
    from pytest_berth.sources.choose import Sources


FEW = 3


class Part(NamedTuple):
    """An image, a program, or a file of the cache.

    Attributes:
        about: What it is: ``"postgres:17-alpine"``.
        place: Where it is, or will be: an engine, a directory; empty for what is installed.
        is_there: Whether it need not be fetched.
        size: Bytes to be fetched, where that is known.
    """

    about: str
    place: str
    is_there: bool
    size: int = 0


class Serving(NamedTuple):
    """Which sources can serve a service.

    Attributes:
        sources: Those that can, the first one is taken.
        obstacles: Why the others cannot, by their names.
    """

    sources: Sequence[Source]
    obstacles: Sequence[tuple[str, BerthError]]


class Silent:
    """Progress that tells nobody."""

    def note(self, text: str) -> None:
        """Tell nothing."""

    def update(self, label: str, done: int, total: int | None) -> None:
        """Tell nothing."""

    def phase(self, what: str, text: str) -> None:
        """Tell nothing."""


def serving(service: Service, settings: Settings, sources: Sources) -> Serving:
    """Return the sources that can serve, without fetching anything."""
    able: list[Source] = []
    obstacles: list[tuple[str, BerthError]] = []
    for source in may_serve(service, settings, sources):
        obstacle = _obstacle(service, source)
        if obstacle:
            obstacles.append((source.name, obstacle))
        else:
            able.append(source)
    return Serving(able, obstacles)


def of(service: Service, source: Source, settings: Settings) -> list[Part]:
    """Return what a source needs for a service; nothing of a server that is there already."""
    from pytest_berth.sources.container import ContainerSource

    if isinstance(source, ContainerSource):
        from pytest_berth.sources import images

        image = source.image(service)
        engine = source.engine
        place = str(engine.client.client.api.base_url)
        return [Part(image, place, images.present(engine, image))]
    if source.name != "local":
        return []
    from pytest_berth.sources.artifact_cache import cache_directory

    found = []
    for about, directory, size in service.backend.local_parts(settings):
        path = cache_directory() / directory if directory else None
        is_there = path is None or path.is_dir()
        found.append(Part(about, str(path or ""), is_there, 0 if is_there else size))
    return found


def together(parts: Sequence[Part]) -> list[Part]:
    """Return the same for people: many files of one place are one line."""
    found: list[Part] = []
    for is_there in (True, False):
        some = [part for part in parts if part.is_there == is_there]
        files = [part for part in some if part.place]
        if len(files) > FEW:
            place = str(Path(files[0].place).parent)
            whole = Part(f"{len(files)} files", place, is_there, sum(each.size for each in files))
            some = [*(part for part in some if not part.place), whole]
        found += some
    return found


def _obstacle(service: Service, source: Source) -> BerthError | None:
    from pytest_berth.sources.container import ContainerSource

    if isinstance(source, ContainerSource):
        return source.engine_obstacle(service)
    return source.obstacle(service, Silent())
