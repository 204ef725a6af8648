"""How fixtures get at the worker's place on the broker, or at a test's own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_berth.run.crash_recovery import on_living_server
from pytest_berth.run.plugin_state import BERTH
from pytest_berth.services.kafka.options import TOPICS
from pytest_berth.services.kafka.service import KAFKA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Server
    from pytest_berth.isolation.running_server import RunningServer
    from pytest_berth.services.kafka.namespace import Workspace

WORKSPACE = pytest.StashKey["Workspace"]()


@contextmanager
def shared_workspace(config: pytest.Config) -> Iterator[Workspace]:
    """Open the worker's place on the broker that it shares."""
    from pytest_berth.services.kafka.connection_errors import ERRORS

    berth = config.stash[BERTH]

    def open_on(server: Server) -> Workspace:
        opened = _workspace(config, server)
        opened.open(berth.settings[TOPICS])
        return opened

    config.stash[WORKSPACE] = on_living_server(berth, KAFKA, ERRORS, open_on)
    try:
        yield config.stash[WORKSPACE]
    finally:
        del config.stash[WORKSPACE]


def own_workspace(config: pytest.Config, server: RunningServer) -> Workspace:
    """Return the place of a test on its own broker."""
    return _workspace(config, server.server)


@contextmanager
def late_slate(config: pytest.Config) -> Iterator[None]:
    """Empty the run's topics behind a test that may ask for Kafka only while it runs.

    As long as no test has needed Kafka there is nothing to guard, and nothing is started.
    """
    topics = config.stash[BERTH].settings[TOPICS]
    yield
    opened = config.stash.get(WORKSPACE, None)
    if opened and topics:
        with opened.slate(topics, "late"):
            pass


def _workspace(config: pytest.Config, server: Server) -> Workspace:
    from pytest_berth.services.kafka.namespace import Workspace
    from pytest_berth.services.kafka.requirements import is_prefixed

    berth = config.stash[BERTH]
    return Workspace(berth, server, is_prefixed(berth))
