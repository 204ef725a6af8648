"""Which source serves: the one asked for by name, else the first that can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.errors import NoSourceError
from pytest_berth.settings import SOURCE
from pytest_berth.sources.container import Container
from pytest_berth.sources.external import External
from pytest_berth.sources.local import Local

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_berth.errors import BerthError
    from pytest_berth.service import Progress, Service, Source
    from pytest_berth.settings import Settings


# What `auto` takes where nothing else can serve.
FALLBACK = "local"


def sources(
    settings: Settings, run_id: str, labels: Callable[[], Mapping[str, str]] = dict
) -> tuple[Source, ...]:
    """Return all sources, in the order in which ``auto`` tries them.

    Args:
        settings: The settings.
        run_id: The run.
        labels: Gives what containers carry beside the run's id.
    """
    container = Container(settings, run_id, labels)
    return External(settings), container, Local(settings, run_id)


def may_serve(
    service: Service, settings: Settings, candidates: tuple[Source, ...]
) -> tuple[Source, ...]:
    """Return the sources that the settings allow for a service."""
    wanted = settings[service.source] or settings[SOURCE]
    return tuple(source for source in candidates if wanted in {source.name, "auto"})


def choose(
    service: Service, settings: Settings, candidates: tuple[Source, ...], progress: Progress
) -> tuple[Source, str]:
    """Return the source that serves, and why it was taken.

    Raises:
        NoSourceError: None can serve, or the one asked for by name cannot.
    """
    option = service.source if settings[service.source] else SOURCE
    wanted, given = settings[option], settings.given(option)
    if wanted != "auto":
        return _by_name(service, candidates, wanted, given, progress), given
    obstacles: list[tuple[Source, BerthError]] = []
    for source in candidates:
        obstacle = source.obstacle(service, progress)
        if obstacle is None:
            return source, _reason(service, settings, obstacles)
        obstacles.append((source, obstacle))
    raise NoSourceError(
        f"no source can serve {service.name}.",
        why="\n".join(f"{source.name}: {_sentence(obstacle)}" for source, obstacle in obstacles),
        remedy="\n".join(f"{source.name}: {obstacle.remedy}" for source, obstacle in obstacles),
    )


def _by_name(
    service: Service, candidates: tuple[Source, ...], wanted: str, given: str, progress: Progress
) -> Source:
    (source,) = (candidate for candidate in candidates if candidate.name == wanted)
    obstacle = source.obstacle(service, progress)
    if obstacle:
        raise NoSourceError(
            f"{service.name} cannot be served from the source asked for: {given}.",
            why=_sentence(obstacle),
            remedy=f"{obstacle.remedy}\nor let berth choose: berth_source = auto",
        )
    return source


def _reason(
    service: Service, settings: Settings, obstacles: list[tuple[Source, BerthError]]
) -> str:
    if not obstacles:
        return f"berth_{service.prefix}_url is set"
    if len(obstacles) == 1:
        return "a container engine answers"
    return obstacles[-1][1].what.rstrip(".")


def _sentence(error: BerthError) -> str:
    return f"{error.what} ({error.why})" if error.why else error.what
