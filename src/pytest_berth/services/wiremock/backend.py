"""What WireMock does: how servers are launched, asked, opened and cleaned."""

from __future__ import annotations

import json
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from pytest_berth.api import Backend
from pytest_berth.config.options import mask
from pytest_berth.errors import NotReadyError, StartError
from pytest_berth.services.wiremock import launch

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
    from pytest_berth.services.wiremock.namespace import WireMockNamespace


class WireMockBackend(Backend):
    """The service ``wiremock``."""

    default_port = 80
    replaces_silent = True

    def account(self, settings: Settings) -> Credentials:
        """Return what proves a server to be berth's: the name of a file that the server lists."""
        return launch.credentials(given=bool(settings[self.service.port]))

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container, through the interface of the official image."""
        return launch.container(
            settings, self.image(settings), account, settings[self.service.port]
        )

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there is no Java, or no pinned WireMock, for a local process."""
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
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.port is None:
            url = urlunsplit(parts._replace(netloc=f"{parts.netloc}:443"))
        return super().server_at(url)

    def url(self, server: Server) -> str:
        """Return a server's URL, without the account."""
        from pytest_berth.services.wiremock import urls

        return urls.address(server, "")

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the placeholders' values for a worker."""
        from pytest_berth.services.wiremock import urls

        path = f"/berth_{run_id}_{worker}" if urls.is_shared(server, settings) else ""
        return {
            "wiremock_url": urls.address(server, path),
            "wiremock_host": server.host,
            "wiremock_port": server.port,
        }

    def probe(self, server: Server) -> str:
        """Ask once for the stubs, and return the server's version, such as ``"3.13.2"``."""
        from pytest_berth.services.wiremock.admin import Admin, AdminError, Question

        with closing(Admin(server)) as admin:
            try:
                admin.ask(Question("GET", "/mappings?limit=1"))
            except OSError as error:
                raise NotReadyError(f"it does not answer: {error}") from error
            except (AdminError, ValueError) as error:
                if server.source != "external":
                    raise NotReadyError(f"it does not answer as WireMock does: {error}") from error
                raise StartError(
                    f"there is no WireMock at {mask(self.url(server))}.",
                    why=str(error),
                    remedy=f"set {self.service.url.name} to the address of one, with user and"
                    " password where its admin API asks for them",
                ) from error
            try:
                return str(json.loads(admin.ask(Question("GET", "/version"))[0])["version"])
            except (AdminError, ValueError, KeyError):
                return "?"

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[WireMockNamespace]:
        """Open the worker's part of the server."""
        from pytest_berth.services.wiremock import namespace

        return namespace.opened(server, worker)

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return the client that tests have, too."""
        from pytest_berth.services.wiremock.client import WireMock

        return {"client": WireMock(values["wiremock_url"])}

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what says that a connection has failed."""
        return (OSError,)

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check the project's stubs, which a server would end for, and its files."""
        from pytest_berth.config.loading import SETTINGS
        from pytest_berth.services.wiremock import project_stubs

        settings = items[0].config.stash[SETTINGS]
        project_stubs.stubs(settings)
        project_stubs.files(settings)

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation, and why it was chosen."""
        from pytest_berth.config.loading import SETTINGS
        from pytest_berth.isolation.lifecycle import has_own_server

        settings, scope = item.config.stash[SETTINGS], self.service.scope
        if has_own_server(item, self.service):
            return "own server: asked for by the marker or the settings"
        return f"stubs put back: {settings.given(scope)}"

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need."""
        import_module("pytest_berth.services.wiremock.namespace")

    def release(self, server: Server, run_id: str) -> None:
        """Remove the stubs that a run has left on an external server."""
        from pytest_berth.services.wiremock import shared_stubs
        from pytest_berth.services.wiremock.admin import Admin

        with closing(Admin(server)) as admin:
            shared_stubs.release(admin, run_id)
