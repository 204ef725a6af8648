"""Projects whose RabbitMQ is a server that runs already: a start takes seconds."""

from __future__ import annotations

import base64
import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from pytest_berth.services.rabbitmq import urls
from pytest_berth.services.rabbitmq.service import RABBITMQ

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from pytest_berth.api import Server, Service
    from pytest_berth.isolation.running_server import RunningServer

# For projects: the management API by its own words, apart from what berth does with it.
API = """
    import base64, http.client, json, os
    from urllib.parse import urlsplit

    def ask(url, management_url, method, path, body=None):
        account, place = urlsplit(url), urlsplit(management_url)
        pair = f"{account.username}:{account.password}"
        headers = {
            "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
            "Content-Type": "application/json",
        }
        connection = http.client.HTTPConnection(place.hostname, place.port)
        content = None if body is None else json.dumps(body)
        connection.request(method, "/api" + path.format(v=account.path[1:]), content, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        assert response.status < 300, (response.status, text)
        return json.loads(text) if text else None
"""


@dataclass(frozen=True)
class Outer:
    """The server of the suite's own run, as somebody else's.

    Attributes:
        server: The server.
    """

    server: Server

    @property
    def url(self) -> str:
        """Its URL, without a virtual host."""
        return urls.url(self.server, "")

    @property
    def management_url(self) -> str:
        """The URL of its management API."""
        return urls.management_url(self.server)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the management API."""
        place, account = urlsplit(self.management_url), self.server.credentials
        pair = base64.b64encode(f"{account.user}:{account.password}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(place.hostname or "", place.port)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/api{path}", content, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        assert response.status < 300, (response.status, text)
        return json.loads(text) if text else None

    def vhosts(self) -> set[str]:
        """Return the names of all virtual hosts."""
        return {each["name"] for each in self.ask("GET", "/vhosts")}


@pytest.fixture
def outer(require_service: Callable[[Service, str], None], request: pytest.FixtureRequest) -> Outer:
    """The server that the suite's own run has started."""
    require_service(RABBITMQ, "external")
    running: RunningServer = request.getfixturevalue("rabbitmq_server")
    return Outer(running.server)


@pytest.fixture
def served(outer: Outer, project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that works on that server, beside others."""
    monkeypatch.setenv("BERTH_RABBITMQ_SOURCE", "external")
    monkeypatch.setenv("BERTH_RABBITMQ_URL", outer.url)
    monkeypatch.setenv("BERTH_RABBITMQ_MANAGEMENT_URL", outer.management_url)
    project.write(api=API)
    return project
