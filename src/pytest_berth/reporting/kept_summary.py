"""What the summary tells of failed tests whose state stays, or cannot: ``--berth-keep-failed``."""

from __future__ import annotations

import json
import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytest_berth.run.reuse import kept_states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Service
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.run.reuse.kept_states import KeptState

TITLE = "kept of failed tests"


def lines(berth: PluginState) -> list[str]:
    """Return the lines of the summary, none where no test has failed."""
    if not berth.run.has_directory or not berth.run.registry.failed_kept.exists():
        return []
    told = list(map(json.loads, berth.run.registry.failed_kept.read_text("utf-8").splitlines()))
    return list(_lines(berth, told))


def until(state: KeptState) -> str:
    """Return until when something stays, in local time."""
    return local_time(state.until)


def local_time(seconds: float) -> str:
    """Return a time, in seconds since 1970, for people here."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"


def command(service: Service, state: KeptState) -> str:
    """Return the command that opens a shell in what stays, without the password."""
    return shlex.join(service.backend.client(state.server, state.name).command)


def _lines(berth: PluginState, told: list[dict[str, Any]]) -> Iterator[str]:
    services = {service.name: service for service in berth.services}
    kept = [kept_states.parse(each["kept"]) for each in told if "kept" in each]
    for nodeid, latest in {state.nodeid: state for state in kept}.items():
        yield f"{nodeid} (until {until(latest)})"
        for state in [each for each in kept if each.nodeid == nodeid]:
            yield f"  {state.server.service}: {command(services[state.server.service], state)}"
            if state.note:
                yield f"    {state.note}"
    if kept:
        yield f"with the password: pytest-berth shell --failed {shlex.quote(kept[0].nodeid)}"
    for each in told:
        if "why" in each:
            yield f"{each['nodeid']}: {each['service']} is not kept: {each['why']}"
    over = sum("over" in each for each in told)
    if over:
        yield f"of {over} more nothing is kept: {kept_states.MOST} are the most in a run"
