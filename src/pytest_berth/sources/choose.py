"""Which source serves: the one asked for by name, else the first that can."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_berth.config.options import SOURCE
from pytest_berth.debug_log import debug
from pytest_berth.errors import NoSourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_berth.api import Progress, Service, Source
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError


# What `auto` takes where nothing else can serve.
FALLBACK = "local"
# The order in which `auto` tries them.
NAMES = ("external", "container", FALLBACK)


class Sources(Mapping[str, "Source"]):
    """All sources by their names; each is imported, and made, when it is first asked for.

    Args:
        settings: The settings.
        run_id: The run.
        labels: Gives what containers carry beside the run's id.
    """

    def __init__(
        self, settings: Settings, run_id: str, labels: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        self._settings = settings
        self._run_id = run_id
        self._labels = labels
        self._made: dict[str, Source] = {}
        self._making = threading.Lock()

    def __getitem__(self, name: str) -> Source:
        """Return the source of a name: one for all, so that an engine is connected to once."""
        with self._making:
            if name not in self._made:
                self._made[name] = self._make(name)
            return self._made[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names, in the order in which ``auto`` tries the sources."""
        return iter(NAMES)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(NAMES)

    def _make(self, name: str) -> Source:
        if name == "external":
            from pytest_berth.sources.external import External

            return External(self._settings)
        if name == "container":
            from pytest_berth.sources.container import ContainerSource

            return ContainerSource(self._settings, self._run_id, self._labels)
        if name == FALLBACK:
            from pytest_berth.sources.local import Local

            return Local(self._settings, self._run_id)
        raise KeyError(name)


def may_serve(service: Service, settings: Settings, candidates: Sources) -> Iterator[Source]:
    """Yield the sources that the settings allow for a service: with a URL, no other is tried."""
    wanted = settings[service.source] or settings[SOURCE]
    if wanted == "auto" and settings[service.url]:
        wanted = "external"
    yield from candidates.values() if wanted == "auto" else [candidates[wanted]]


def choose(
    service: Service, settings: Settings, candidates: Sources, progress: Progress
) -> tuple[Source, str]:
    """Return the source that serves, and why it was taken.

    Raises:
        NoSourceError: None can serve, or the one asked for by name cannot.
    """
    option = service.source if settings[service.source] else SOURCE
    wanted, given = settings[option], settings.given(option)
    if wanted != "auto":
        debug("%s: the source %s is asked for: %s", service.name, wanted, given)
        return _by_name(service, candidates[wanted], given, progress), given
    obstacles: list[tuple[Source, BerthError]] = []
    for source in candidates.values():
        obstacle = source.obstacle(service, progress)
        if obstacle is None:
            reason = _reason(service, settings, obstacles)
            debug("%s: the source %s is taken: %s", service.name, source.name, reason)
            return source, reason
        debug("%s: the source %s cannot serve: %s", service.name, source.name, _sentence(obstacle))
        obstacles.append((source, obstacle))
    raise NoSourceError(
        f"no source can serve {service.name}.",
        why="\n".join(f"{source.name}: {_sentence(obstacle)}" for source, obstacle in obstacles),
        remedy="\n".join(f"{source.name}: {obstacle.remedy}" for source, obstacle in obstacles),
    )


def _by_name(service: Service, source: Source, given: str, progress: Progress) -> Source:
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
