"""What S3 does: how servers are launched, asked, opened and cleaned."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pytest_berth.api import Backend
from pytest_berth.services.s3 import fixed_buckets, images, launch, urls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import pytest

    from pytest_berth.api import Container, Credentials, LocalProcess, LocalRequest, Server, Worker
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError
    from pytest_berth.services.s3.namespace import S3Namespace


class S3(Backend):
    """The service ``s3``."""

    replaces_silent = True

    def account(self, settings: Settings) -> Credentials:
        """Return the keys of a server to be started."""
        return launch.credentials(settings)

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container, through the interface of its image."""
        return images.container(self.image(settings), account)

    def image(self, settings: Settings) -> str:
        """Return the container's image."""
        from pytest_berth.services.s3.options import IMAGE, VERSION

        return settings[IMAGE] or f"chrislusf/seaweedfs:{settings[VERSION]}"

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why moto cannot serve here."""
        return launch.local_obstacle()

    def local(self, settings: Settings, request: LocalRequest) -> LocalProcess:
        """Describe the process."""
        return launch.local(request)

    def local_identity(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another."""
        return launch.local_identity()

    def server_at(self, url: str) -> Server:
        """Return the external server at the URL."""
        return urls.server(url, reason=f"{self.service.url.name} is set")

    def url(self, server: Server) -> str:
        """Return the endpoint, which has no keys in it."""
        return urls.endpoint(server)

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the placeholders' values for a worker's buckets."""
        return urls.placeholders(server, settings, urls.prefix(run_id, worker))

    def probe(self, server: Server) -> str:
        """Connect once and return what the server says that it is."""
        from pytest_berth.services.s3 import probe

        return probe.probe(server, urls.given_region(server))

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[S3Namespace]:
        """Open the worker's buckets."""
        from pytest_berth.services.s3 import namespace

        return namespace.opened(server, worker)

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return boto3's client."""
        from pytest_berth.services.s3 import clients

        return {
            "client": clients.client(
                {
                    "endpoint_url": values["s3_url"],
                    "aws_access_key_id": values["s3_access_key"],
                    "aws_secret_access_key": values["s3_secret_key"],
                    "region_name": values["s3_region"],
                }
            )
        }

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what boto3 and berth's own requests raise when a connection fails."""
        from http.client import HTTPException

        from botocore.exceptions import HTTPClientError

        return (OSError, HTTPException, HTTPClientError)

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check the buckets that the settings name."""
        fixed_buckets.check(items[0].config)

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation, and why it was chosen."""
        from pytest_berth.config.common_options import TEST
        from pytest_berth.config.loading import SETTINGS
        from pytest_berth.isolation.lifecycle import has_own_server

        settings, scope = item.config.stash[SETTINGS], self.service.scope
        if not has_own_server(item, self.service):
            return f"restored: buckets of each worker's own, {settings.given(scope)}"
        by_all = settings[scope] == TEST
        return f"own server: {settings.given(scope) if by_all else 'asked for by the marker'}"

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need."""
        import_module("pytest_berth.services.s3.namespace")

    def release(self, server: Server, run_id: str) -> None:
        """Delete the buckets of a run from an external server."""
        from pytest_berth.services.s3 import release

        release.release(server, run_id)
