"""Lets the state of failing tests stay: ``--berth-keep-failed``.

The moment a test fails, in its set-up, its call, or the end of one of its fixtures, each service
that it works with copies what the test has done, before anything is cleaned up behind it. The test
is then isolated as ever: later tests see nothing of it.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.collection.requirements import services_reached
from pytest_berth.config.options import KEEP
from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import NotKeptError
from pytest_berth.isolation import lifecycle
from pytest_berth.run.once_per_run import lock
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.run.reuse import kept_states
from pytest_berth.run.reuse.kept_states import KeptState
from pytest_berth.waiting import wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pytest_berth.api import Server, Service
    from pytest_berth.isolation.lifecycle import OpenNamespace
    from pytest_berth.run.plugin_state import PluginState

_IS_KEPT = pytest.StashKey[bool]()
_LOCK = "failed-kept"


def look_afterwards(item: pytest.Item, server: Server) -> str:
    """Return how to look at what a test has done when it has ended; empty where nothing may stay.

    Args:
        item: The test.
        server: What it works with: one that berth has started can stay, an external one cannot.
    """
    if server.source == "external":
        return ""
    berth = item.config.stash[PLUGIN_STATE]
    service = next(each for each in berth.services if each.name == server.service)
    with ignoring(NotKeptError, why="it is not offered"):
        berth.manager.reuse.require_may_stay(service)
        return kept_states.LOOK_AFTERWARDS
    return ""


class KeepFailed:
    """A plugin for as long as the run lasts."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin anew, where a test is run again."""
        item.stash[_IS_KEPT] = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep what there is when set-up or call have failed: no teardown has begun."""
        report = yield
        if report.failed and call.when != "teardown":
            _keep(item)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: Any, request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        """Keep what there is when the end of a test's fixture fails."""
        if fixturedef.scope != "function":
            return (yield)
        add, item = fixturedef.addfinalizer, request.node

        def add_watched(finalizer: Callable[[], object]) -> None:
            add(lambda: _watched(finalizer, item))

        fixturedef.addfinalizer = add_watched
        try:
            return (yield)
        finally:
            del fixturedef.addfinalizer


def _watched(finalizer: Callable[[], object], item: pytest.Item) -> None:
    try:
        finalizer()
    except Exception:
        _keep(item)
        raise
    except BaseException as error:
        if isinstance(error, pytest.fail.Exception):
            _keep(item)
        raise


def _keep(item: pytest.Item) -> None:
    """Keep what a test has done so far, once."""
    if item.stash.get(_IS_KEPT, False):
        return
    item.stash[_IS_KEPT] = True
    berth = item.config.stash[PLUGIN_STATE]
    if not berth.has_manager:
        return
    for service in services_reached(item, berth.services):
        opened = lifecycle.opened_for(item, service)
        if opened and opened.is_in_test:
            _keep_of(item, berth, service, opened)


def _keep_of(
    item: pytest.Item, berth: PluginState, service: Service, opened: OpenNamespace
) -> None:
    with lock(berth.run.directory, _LOCK):
        number = _count(berth) + 1
        if number <= kept_states.MOST:
            _note(berth, {"nodeid": item.nodeid, "service": service.name})
    if number > kept_states.MOST:
        _note(berth, {"nodeid": item.nodeid, "service": service.name, "over": True})
        return
    seconds = berth.settings[KEEP].total_seconds() or kept_states.DEFAULT_SECONDS
    since = wall_clock()
    until = since + seconds
    try:
        if opened.server.source != "external":
            berth.manager.reuse.require_may_stay(service)
        name = f"{berth.run.id}_{berth.run.worker}_{number}"
        found = opened.namespace.keep(item, name, until)
        if not found:
            return
        server = berth.manager.hold(service, opened.server, until)
        for kept in found:
            state = KeptState(
                item.nodeid,
                str(berth.settings.root),
                berth.run.id,
                kept_states.without_password(server),
                kept.name,
                until,
                kept.note,
                since=since,
            )
            kept_states.note(state)
            _note(berth, {"kept": dataclasses.asdict(state)})
    except NotKeptError as error:
        _note(berth, _why(item, service, " ".join(filter(None, [error.what, error.why]))))
    except Exception as error:  # whatever it is, the test's own failure is what has to be read
        debug("%s: %s is not kept: %r", item.nodeid, service.name, error)
        said = next(iter(str(error).splitlines()), "")
        _note(berth, _why(item, service, f"{type(error).__name__}: {said}"))


def _why(item: pytest.Item, service: Service, why: str) -> dict[str, object]:
    return {"nodeid": item.nodeid, "service": service.name, "why": " ".join(why.split())}


def _count(berth: PluginState) -> int:
    """Return how many failures have been given a number."""
    path = berth.run.registry.failed_kept
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return sum(not json.loads(line).keys() & {"kept", "why", "over"} for line in lines)


def _note(berth: PluginState, told: dict[str, object]) -> None:
    with berth.run.registry.failed_kept.open("a", encoding="utf-8") as lines:
        lines.write(f"{json.dumps(told)}\n")
