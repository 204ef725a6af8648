"""What Redis does: how servers are launched, asked, opened and cleaned."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pytest_berth.api import Backend, Client
from pytest_berth.services.redis import fixed_address, launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import pytest

    from pytest_berth.api import (
        Container,
        Credentials,
        LocalPart,
        LocalProcess,
        LocalRequest,
        Server,
        Worker,
    )
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError
    from pytest_berth.services.redis.namespace import RedisNamespace


class Redis(Backend):
    """The service ``redis``."""

    replaces_silent = True

    def account(self, settings: Settings) -> Credentials:
        """Return the account of a server to be started, with what the settings have chosen."""
        return fixed_address.chosen(settings, launch.credentials())

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container, through the interface of the official image."""
        return launch.container(settings, account)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there is neither an installed server nor an artifact for this machine."""
        return launch.local_obstacle(settings)

    def local(self, settings: Settings, request: LocalRequest) -> LocalProcess:
        """Describe the local process."""
        return launch.local(settings, request)

    def local_parts(self, settings: Settings) -> Sequence[LocalPart]:
        """Return what the local process is made of."""
        return launch.local_parts(settings)

    def local_identity(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another: programs and settings."""
        return launch.local_shape(settings)

    def server_at(self, url: str) -> Server:
        """Return the external server at the URL."""
        from pytest_berth.services.redis import urls

        return urls.server(url, reason=f"{self.service.url.name} is set")

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's database number."""
        from pytest_berth.services.redis import database_numbers, urls

        return urls.values(server, database_numbers.number(server, settings, run_id, worker))

    def probe(self, server: Server) -> str:
        """Connect once and return the server's version, such as ``"8.2.1"``."""
        from pytest_berth.services.redis import probe

        return probe.probe(server)

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[RedisNamespace]:
        """Open the worker's database numbers."""
        from pytest_berth.services.redis import namespace

        return namespace.opened(server, worker)

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return redis-py's client."""
        from redis import Redis as Client

        return {"client": Client.from_url(values["redis_url"], decode_responses=True)}

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what redis-py raises when a connection fails."""
        import redis

        return (redis.ConnectionError, redis.TimeoutError)

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check the address that the settings fix."""
        from pytest_berth.run.plugin_state import PLUGIN_STATE

        fixed_address.check(items[0].config.stash[PLUGIN_STATE])

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation, and why it was chosen."""
        from pytest_berth.config.common_options import TEST
        from pytest_berth.config.loading import SETTINGS
        from pytest_berth.isolation.lifecycle import has_own_server

        settings, scope = item.config.stash[SETTINGS], self.service.scope
        if not has_own_server(item, self.service):
            return f"flushed: a database number for each worker, {settings.given(scope)}"
        by_all = settings[scope] == TEST
        return f"own server: {settings.given(scope) if by_all else 'asked for by the marker'}"

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need."""
        import_module("pytest_berth.services.redis.namespace")

    def was_used(self, server: Server, run_id: str) -> bool | None:
        """Tell whether the server was sent commands that berth itself never sends."""
        from pytest_berth.services.redis import probe

        return probe.was_used(server)

    def release(self, server: Server, run_id: str) -> None:
        """Give back the database numbers that a run has claimed on an external server."""
        from pytest_berth.services.redis import claims

        claims.release(server, run_id)

    def client(self, server: Server, name: str) -> Client:
        """Return the command that opens redis-cli in a database number."""
        from pytest_berth.services.redis import urls

        number, password = int(name), server.credentials.password
        return Client(
            urls.cli_arguments(server, number),
            {
                "REDIS_URL": urls.url(server, number),
                **({"REDISCLI_AUTH": password} if password else {}),
            },
            "install redis-tools (apt-get install redis-tools, brew install redis), or add a"
            ' command of yours: -- python -c "import os, redis; print(redis.from_url('
            "os.environ['REDIS_URL']).keys())\"",
        )

    def discard_kept(self, server: Server, name: str) -> None:
        """Empty a kept database number."""
        from pytest_berth.services.redis import kept_keys

        kept_keys.discard(server, int(name))

    def state_digest(self, server: Server) -> Sequence[str]:
        """Return the server's settings, users, functions and keys."""
        from pytest_berth.services.redis import reset_for_reuse

        return reset_for_reuse.condition(server)

    def reset_server(
        self, server: Server, run_id: str, digest: Sequence[str], password: str
    ) -> Sequence[str]:
        """Delete all keys, functions and further users, and set back what was set."""
        from pytest_berth.services.redis import reset_for_reuse

        return reset_for_reuse.renew(server, digest, password)
