"""What Elasticsearch and OpenSearch do: how servers are launched, asked, opened and cleaned."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_berth.api import Backend
from pytest_berth.services.elasticsearch import launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import pytest

    from pytest_berth.api import Container, Credentials, LocalProcess, LocalRequest, Server, Worker
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError
    from pytest_berth.services.elasticsearch.launch import Distribution
    from pytest_berth.services.elasticsearch.namespace import SearchNamespace


class SearchBackend(Backend):
    """What both services do.

    Attributes:
        distribution: What their distributions differ in.
    """

    distribution: Distribution
    default_port = launch.PORT
    replaces_silent = True

    def account(self, settings: Settings) -> Credentials:
        """Return no account, and the token that the server bears as its cluster's name."""
        return replace(super().account(settings), token=f"berth-{secrets.token_hex(16)}")

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container, through the interface of the official image."""
        values = self._values(settings, account)
        port = settings[self.service.port] or launch.PORT
        return launch.container(self.distribution, self.image(settings), values, port)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why no installed distribution can be run here."""
        return launch.local_obstacle(self.distribution, self._wanted(settings))

    def local(self, settings: Settings, request: LocalRequest) -> LocalProcess:
        """Describe the local process."""
        values = self._values(settings, request.credentials)
        return launch.local(self.distribution, self._wanted(settings), values, request)

    def local_identity(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another: the program and settings."""
        return launch.local_identity(self.distribution, self._values(settings, None))

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the values of the address, and of the worker's prefix."""
        from pytest_berth.services.elasticsearch import names

        told = super().placeholders(server, settings, run_id, worker)
        return {**told, f"{self.service.prefix}_prefix": names.prefix(run_id, worker)}

    def probe(self, server: Server) -> str:
        """Ask for the version and for a cluster that has a master."""
        from pytest_berth.services.elasticsearch import probe

        return probe.probe(server, self.service.label)

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[SearchNamespace]:
        """Open the worker's indices."""
        from pytest_berth.services.elasticsearch import namespace

        interval = next(each for each in self.service.options if each.name.endswith("_interval"))
        return namespace.opened(server, worker, self.url(server), worker.settings[interval])

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what berth's own requests raise when a connection fails."""
        from pytest_berth.services.elasticsearch.rest import CONNECTION_ERRORS

        return CONNECTION_ERRORS

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe how a test gets its clean slate."""
        return "restored: what differs from before the test is put back"

    def release(self, server: Server, run_id: str) -> None:
        """Delete from an external server what has the run's prefix."""
        from pytest_berth.services.elasticsearch import release

        release.release(server, run_id)

    def _wanted(self, settings: Settings) -> str:
        """Return the version that was asked for; empty where any will do."""
        option = self.service.version
        return "" if settings.origin(option) == "default" else settings[option]

    def _values(self, settings: Settings, account: Credentials | None) -> dict[str, str]:
        from pytest_berth.services.elasticsearch.options import given_settings

        given = self.service.settings
        return {
            "cluster.name": account.token if account else "",
            **launch.FIT_FOR_TESTS,
            **(given_settings(settings, given) if given else {}),
        }


class Elasticsearch(SearchBackend):
    """The service ``elasticsearch``."""

    distribution = launch.ELASTICSEARCH

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return the official client."""
        from elasticsearch import Elasticsearch as Client

        return {"client": Client(values["elasticsearch_url"])}
