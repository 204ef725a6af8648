"""The fixtures of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    import redis.asyncio

    from pytest_berth.isolation.running_server import RunningServer
    from pytest_berth.services.redis.namespace import Workspace


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> RunningServer:
    """The Redis server that tests run against: where it runs, its version, its log.

    Scope: session; with ``berth_redis_scope = test`` or the marker ``berth_redis(scope="test")``,
    function.

    Raises:
        NoSourceError: No source can serve; with ``berth_missing = skip`` the test is skipped.
        StartError: It did not become ready within ``berth_start_timeout`` seconds.
    """
    from pytest_berth.isolation.running_server import shared_server
    from pytest_berth.services.redis.service import REDIS

    return shared_server(pytestconfig, REDIS)


@pytest.fixture(scope="session")
def _redis_workspace(
    pytestconfig: pytest.Config, redis_server: RunningServer
) -> Iterator[Workspace]:
    """The worker's database number and berth's connection to it."""
    from pytest_berth.services.redis.access import shared_workspace

    with shared_workspace(pytestconfig) as workspace:
        yield workspace


@pytest.fixture(scope="session")
def redis_url(_redis_workspace: Workspace) -> str:
    """URL of this worker's database number: ``redis://:password@127.0.0.1:15379/0``.

    Scope: session; with ``berth_redis_scope = test`` or the marker ``berth_redis(scope="test")``,
    function.
    """
    return _redis_workspace.url


@pytest.fixture
def _redis_own_server(pytestconfig: pytest.Config) -> Iterator[RunningServer]:
    """`redis_server` for a test that has a server of its own."""
    from pytest_berth.isolation.running_server import own_server
    from pytest_berth.services.redis.service import REDIS

    with own_server(pytestconfig, REDIS) as server:
        yield server


@pytest.fixture
def _redis_own_workspace(
    pytestconfig: pytest.Config, redis_server: RunningServer
) -> Iterator[Workspace]:
    """`_redis_workspace` for a test that has a server of its own."""
    from pytest_berth.services.redis.access import own_workspace

    with own_workspace(pytestconfig, redis_server) as workspace:
        yield workspace


@pytest.fixture
def _redis_own_url(_redis_workspace: Workspace) -> str:
    """`redis_url` for a test that has a server of its own."""
    return _redis_workspace.url


@pytest.fixture
def _redis_slate(request: pytest.FixtureRequest, _redis_workspace: Workspace) -> Iterator[None]:
    """The test's clean slate: flushed after all that the test uses."""
    from pytest_berth.services.redis.requirements import is_dedicated
    from pytest_berth.services.redis.slates import late_slate

    # A test with a server of its own may reach the shared one too, by exported settings.
    with late_slate(request.config) if is_dedicated(request.node) else _redis_workspace.slate():
        yield


@pytest.fixture
def _redis_late_slate(pytestconfig: pytest.Config) -> Iterator[None]:
    """The clean slate of a test that may ask for Redis only while it runs."""
    from pytest_berth.services.redis.slates import late_slate

    with late_slate(pytestconfig):
        yield


@pytest.fixture
def redis_client(_redis_slate: None, redis_url: str) -> Iterator[redis.Redis]:
    """redis-py's client, connected to this worker's database number.

    Scope: function. It returns bytes, as redis-py's own default is; blocking commands wait as long
    as they say, and a closed port is told at once.
    """
    from pytest_berth.services.redis import clients

    with clients.closing(clients.client(redis_url)) as client:
        yield client


@pytest.fixture
def redis_async_client(_redis_slate: None, redis_url: str) -> Iterator[redis.asyncio.Redis]:
    """redis-py's client for asyncio, connected to this worker's database number.

    Scope: function. It connects at its first command, in whichever event loop that runs, and need
    not be closed.
    """
    from pytest_berth.services.redis import clients

    with clients.closing_async(clients.async_client(redis_url)) as client:
        yield client
