"""What RabbitMQ does: how servers are launched, asked, opened and cleaned."""

from __future__ import annotations

import http.client
from importlib import import_module
from typing import TYPE_CHECKING

from pytest_berth.api import Backend
from pytest_berth.services.rabbitmq import launch, urls
from pytest_berth.services.rabbitmq import options as ini

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import pytest

    from pytest_berth.api import Container, Credentials, LocalProcess, LocalRequest, Server, Worker
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError
    from pytest_berth.services.rabbitmq.namespace import RabbitNamespace


class RabbitMQ(Backend):
    """The service ``rabbitmq``."""

    _has_own_vhosts = False

    def account(self, settings: Settings) -> Credentials:
        """Return the account of a server to be started, and the token that it tells."""
        return launch.credentials(settings)

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container, through the interface of the official image."""
        return launch.container(settings, account)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there is no installed server, or not in the version that is set."""
        from pytest_berth.services.rabbitmq import programs

        return programs.obstacle(settings)

    def local(self, settings: Settings, request: LocalRequest) -> LocalProcess:
        """Describe the local process."""
        return launch.local(settings, request)

    def local_identity(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another: programs and settings."""
        return launch.local_identity(settings)

    def external(self, settings: Settings) -> Server | None:
        """Return the server that ``berth_rabbitmq_url`` names; None without one."""
        return urls.external(settings)

    def server_at(self, url: str) -> Server:
        """Return the external server at the URL."""
        return urls.server(url)

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's virtual host."""
        return urls.values(server, f"berth_{run_id}_{worker}")

    def probe(self, server: Server) -> str:
        """Return the version of a server of which both doors are open: AMQP, and the API."""
        from pytest_berth.services.rabbitmq import probe

        return probe.probe(server)

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[RabbitNamespace]:
        """Open the worker's virtual host."""
        from pytest_berth.services.rabbitmq import namespace

        return namespace.opened(server, worker, prepare=self._has_own_vhosts)

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return a connection of pika, and a channel."""
        import pika

        connection = pika.BlockingConnection(pika.URLParameters(values["rabbitmq_url"]))
        return {"connection": connection, "channel": connection.channel()}

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what pika and the client of the API raise when a connection fails."""
        from pika.exceptions import AMQPConnectionError

        return (OSError, http.client.HTTPException, AMQPConnectionError)

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation, and why it was chosen."""
        from pytest_berth.collection.server_scopes import is_dedicated
        from pytest_berth.config.loading import SETTINGS

        settings = item.config.stash[SETTINGS]
        given = settings.given(ini.ISOLATION)
        if not is_dedicated(item, self.service, settings):
            return f"purge: a virtual host for each worker, put back after each test, {given}"
        by_all = settings[ini.ISOLATION] == ini.VHOST
        return f"vhost: its own, {given if by_all else 'asked for by the marker'}"

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need, and see whether they have virtual hosts of their own."""
        from pytest_berth.collection.server_scopes import is_dedicated
        from pytest_berth.config.loading import SETTINGS

        self._has_own_vhosts = any(
            is_dedicated(item, self.service, item.config.stash[SETTINGS]) for item in items
        )
        import_module("pytest_berth.services.rabbitmq.namespace")

    def release(self, server: Server, run_id: str) -> None:
        """Remove from an external server the virtual hosts of a run, and of dead ones."""
        from pytest_berth.services.rabbitmq import namespace

        namespace.release(server, run_id)
