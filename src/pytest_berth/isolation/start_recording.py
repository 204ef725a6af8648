"""Starts the recorder, with all that it replaces in the drivers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.config.options import REPORT_LINES
from pytest_berth.isolation import kafka_hooks, redis_hooks, statement_hooks
from pytest_berth.isolation.recorder import RECORDER, Recorder, of
from pytest_berth.run.plugin_state import PLUGIN_STATE

if TYPE_CHECKING:
    import pytest

    from pytest_berth.isolation.driver_hooks import Hooks

HOOKS: Hooks = {**statement_hooks.HOOKS, **redis_hooks.HOOKS, **kafka_hooks.HOOKS}


def start(config: pytest.Config) -> None:
    """Record from now on, as a server is in use; not where reports are to tell nothing of it.

    Where it is at work already, what it has is forgotten: it was sent while a schema was made.
    """
    found = of(config)
    if found is not None:
        found.forget()
    elif config.stash[PLUGIN_STATE].settings[REPORT_LINES]:
        start_always(config)


def start_always(config: pytest.Config) -> Recorder:
    """Return the recorder, made now where there is none."""
    found = of(config)
    if found is None:
        found = config.stash[RECORDER] = Recorder(HOOKS)
        found.watch()
        config.pluginmanager.register(found, "berth-recorder")
        config.stash[PLUGIN_STATE].at_end.callback(found.stop)
    return found
