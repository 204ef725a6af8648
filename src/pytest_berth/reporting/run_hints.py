"""Hints at the end of a run: what would be faster, and what may be a mistake; a line each.

A hint is worth a line where it is surely meant for somebody. So most need several tests that say
the same, or several runs; where a server has to be asked, it is asked last.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.config.options import FOREIGN, KEEP, RYUK, SNAPSHOTS
from pytest_berth.debug_log import ignoring
from pytest_berth.reporting import hints
from pytest_berth.sources import snapshots
from pytest_berth.waiting import wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_berth.api import Server, Service
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.run.timeline import Event

# Seconds that a start, or a schema, takes noticeably.
NOTICEABLE = 2.0
# Tests that have to say the same.
_ENOUGH = 5
# How many such starts, within how many seconds, show that somebody runs the tests again and again.
_OFTEN, _WITHIN = 3, 3600.0
_STARTS = "berth/starts"
_AT_RUN_TIME = "at run time"


_OF_RUN = pytest.StashKey[Sequence[str]]()


def all_of(berth: PluginState, config: pytest.Config, *, failed: bool) -> list[str]:
    """Return the hints of a run whose tests have ended: those of its tests, and those of `of_run`.

    Page and summary tell the same ones: they are found out once.
    """
    if _OF_RUN not in berth.stash:
        berth.stash[_OF_RUN] = [*of_run(berth, config, failed=failed)]
    return [*berth.hints, *berth.stash[_OF_RUN]]


def of_run(berth: PluginState, config: pytest.Config, *, failed: bool) -> Iterator[str]:
    """Yield the hints of a run whose tests have ended.

    Args:
        berth: The run.
        config: pytest's configuration, whose cache tells of earlier runs.
        failed: Whether any test has failed: then what a test did not do says nothing.
    """
    yield from _schema(berth)
    yield from _starts(berth, config)
    if not failed:
        yield from _reading_only(berth.run.timeline.events)
        yield from _untouched(berth)


def _schema(berth: PluginState) -> Iterator[str]:
    """Tell of a schema that takes seconds in each run, as snapshots are off."""
    settings = berth.settings
    if settings[KEEP] or snapshots.in_ci():
        return
    for event in berth.run.timeline.events:
        made_anew = event.what == "template" and "earlier" not in event.detail
        if made_anew and event.took >= NOTICEABLE:
            service = _service(berth, event.service)
            why = ""
            if not snapshots.wanted(settings, service):
                why = f"{settings.given(SNAPSHOTS)}; with auto, later runs start from what is there"
            elif not any(each.snapshot for each in berth.served if each.service == service.name):
                obstacle = snapshots.obstacle() or "the debug log says why"
                why = f"no snapshot can be kept here: {obstacle}"
            if why and service.snapshots and _is_ours(berth, service.name):
                yield (
                    f"{service.name}: schema and seeds took {event.took:.1f} s, and will in each"
                    f" run: {why}"
                )
            return


def _starts(berth: PluginState, config: pytest.Config) -> Iterator[str]:
    """Tell of starts that somebody waits for again and again."""
    slow = [each for each in berth.served if _may_be_kept(berth, each)]
    cache: Any = getattr(config, "cache", None)
    if not slow or cache is None or snapshots.in_ci():
        return
    known: dict[str, list[float]] = {}
    with warnings.catch_warnings(), ignoring(Exception, why="the cache cannot be used"):
        warnings.simplefilter("ignore")
        now, before = wall_clock(), cache.get(_STARTS, {})
        for name in {server.service for server in slow}:
            earlier = [at for at in before.get(name, ()) if 0 <= now - at < _WITHIN]
            known[name] = [*earlier, now][-_OFTEN:]
        cache.set(_STARTS, {**before, **known})
    for server in slow:
        if len(known.get(server.service, ())) >= _OFTEN:
            yield (
                f"{server.service}: its start takes {server.started_in:.1f} s in each run:"
                f" {KEEP.flag}=15m keeps it for the next one"
            )


def _may_be_kept(berth: PluginState, server: Server) -> bool:
    """Tell whether a server took long to start, which ``berth_keep`` would spare the next run."""
    settings, service = berth.settings, _service(berth, server.service)
    if server.started_in < NOTICEABLE or server.source == "external" or server.slot:
        return False
    asked = settings[KEEP] or settings[RYUK] or server.reattached
    return service.reusable and not asked and not server.credentials.given


def _reading_only(events: list[Event]) -> Iterator[str]:
    """Tell of files whose tests ask for an engine that commits, and only read."""
    reading: dict[str, set[str]] = defaultdict(set)
    committing: dict[str, set[str]] = defaultdict(set)
    asked: dict[str, str] = {}
    for event in events:
        path = event.test.partition("::")[0]
        if event.what == "read only":
            reading[path].add(event.test)
            asked[path] = event.detail
        elif event.what == "clean up" and event.detail == "truncation":
            committing[path].add(event.test)
    for path, tests in reading.items():
        if len(tests) >= _ENOUGH and tests == committing[path]:
            yield (
                f"postgres: {path}: none of its {len(tests)} tests that ask for {asked[path]}"
                " writes anything: with pg_connection or pg_session they are rolled back, which"
                " takes less time"
            )


def _untouched(berth: PluginState) -> Iterator[str]:
    """Tell of servers that nobody has connected to: the application may work on another one."""
    if berth.settings[FOREIGN] == "allow":
        return  # connections are not watched
    events = berth.run.timeline.events
    touched = {each.service for each in events if each.what == "connect" or each.items}
    tests: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if event.what == "set up" and event.detail != _AT_RUN_TIME:
            tests[event.service].add(event.test)
        if event.detail == "rollback":
            touched.add(event.service)  # its connection is berth's
    for name in sorted(tests.keys() - touched):
        if len(tests[name]) >= _ENOUGH and _nobody_came(berth, name):
            yield _untouched_hint(berth, _service(berth, name), len(tests[name]))


def _nobody_came(berth: PluginState, name: str) -> bool:
    """Ask the servers of a service: other processes may have worked on them."""
    used = _service(berth, name).backend.was_used
    servers = [each for each in berth.served if each.service == name]
    return bool(servers) and all(_is_unused(berth, used, each) for each in servers)


def _is_unused(
    berth: PluginState, used: Callable[[Server, str], bool | None], server: Server
) -> bool:
    with ignoring(Exception, why=f"{server.key}: whether it was used cannot be told"):
        return server.source != "external" and used(server, berth.run.id) is False
    return False


def _untouched_hint(berth: PluginState, service: Service, tests: int) -> str:
    if not berth.exports_any(service):
        return (
            f"{service.name}: it was started for {tests} tests, and nothing has connected to it: do"
            " they need its fixtures, or berth_autouse?"
        )
    setting, names = hints.telling(berth, service)
    return (
        f"{service.name}: nothing has connected to the server of this run, of which {setting}"
        f" tells ({', '.join(names)}), though {tests} tests passed: the application may work on"
        " another one"
    )


def _is_ours(berth: PluginState, name: str) -> bool:
    return all(each.source != "external" for each in berth.served if each.service == name)


def _service(berth: PluginState, name: str) -> Service:
    return next(each for each in berth.services if each.name == name)
