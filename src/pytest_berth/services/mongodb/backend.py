"""What MongoDB does: how servers are launched, asked, opened and cleaned."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_berth.api import Backend
from pytest_berth.services.mongodb import launch, urls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import pytest

    from pytest_berth.api import (
        BerthError,
        Container,
        Credentials,
        LocalProcess,
        LocalRequest,
        Server,
        Settings,
        Worker,
    )
    from pytest_berth.services.mongodb.namespace import MongoNamespace


class MongoDB(Backend):
    """The service ``mongodb``."""

    replaces_silent = True

    def account(self, settings: Settings) -> Credentials:
        """Return the account of a server to be started."""
        return replace(launch.credentials(), given=bool(settings[self.service.port]))

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container, through the interface of the official image."""
        return launch.container(self.image(settings), settings, account)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there is no program that can serve."""
        return launch.local_obstacle(settings)

    def local(self, settings: Settings, request: LocalRequest) -> LocalProcess:
        """Describe the local process."""
        return launch.local(settings, request)

    def local_identity(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another: program and settings."""
        return launch.local_identity(settings)

    def server_at(self, url: str) -> Server:
        """Return the external server at the URL."""
        return urls.server(url, reason=f"{self.service.url.name} is set")

    def url(self, server: Server) -> str:
        """Return the URL of a server's usual database."""
        return urls.url(server, urls.ADMIN)

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's database."""
        return urls.values(server, f"berth_{run_id}_{worker}")

    def probe(self, server: Server) -> str:
        """Connect once and return the server's version, such as ``"8.0.4"``."""
        from pytest_berth.services.mongodb import probe

        return probe.probe(server)

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[MongoNamespace]:
        """Open the worker's database."""
        from pytest_berth.services.mongodb import namespace

        return namespace.opened(server, worker)

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return pymongo's client, and the database."""
        from pymongo import MongoClient

        client: MongoClient[Any] = MongoClient(values["mongo_url"])
        return {"client": client, "database": client[values["mongo_db"]]}

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what pymongo raises when a connection fails."""
        from pymongo.errors import ConnectionFailure

        return (ConnectionFailure,)

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe how a test gets its clean slate."""
        from pytest_berth.isolation.lifecycle import has_own_server

        if has_own_server(item, self.service):
            return "own server: it ends with the test"
        return "restored: a database for each worker, put back after each test"

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need."""
        import_module("pytest_berth.services.mongodb.namespace")

    def release(self, server: Server, run_id: str) -> None:
        """Drop the databases that a run has made on an external server."""
        from pytest_berth.services.mongodb import ownership

        ownership.release(server, run_id)
