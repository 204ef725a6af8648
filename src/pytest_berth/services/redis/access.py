"""How fixtures get at the worker's database number, or at a test's own."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pytest_berth.isolation.layers import Unwinding, unwinding
from pytest_berth.run.crash_recovery import on_living_server
from pytest_berth.run.plugin_state import BERTH
from pytest_berth.run.run import MAIN
from pytest_berth.services.redis.connection_errors import ERRORS
from pytest_berth.services.redis.namespace import workspace
from pytest_berth.services.redis.requirements import may_write
from pytest_berth.services.redis.service import REDIS
from pytest_berth.services.redis.slates import WORKSPACE, Sweeper

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from pytest_berth.isolation.running_server import RunningServer
    from pytest_berth.services.redis.namespace import Workspace


@contextmanager
def shared_workspace(config: pytest.Config) -> Iterator[Workspace]:
    """Open the worker's database number on the server that it shares."""
    berth = config.stash[BERTH]
    with ExitStack() as stack:
        opened = on_living_server(
            berth,
            REDIS,
            ERRORS,
            lambda server: stack.enter_context(workspace(berth, server, berth.run.worker)),
        )
        config.stash[WORKSPACE] = opened
        sweeper = config.pluginmanager.register(Sweeper())
        try:
            with unwinding(config, Unwinding(opened.entering, opened.leave, may_write)):
                yield opened
        finally:
            config.pluginmanager.unregister(name=sweeper)
            del config.stash[WORKSPACE]


@contextmanager
def own_workspace(config: pytest.Config, server: RunningServer) -> Iterator[Workspace]:
    """Open the only database number in use on a test's own server."""
    with workspace(config.stash[BERTH], server.server, MAIN) as opened:
        yield opened
