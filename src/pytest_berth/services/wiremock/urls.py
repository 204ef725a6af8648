"""What tests and the application are told: the address of a worker's WireMock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.config.common_options import WORKER
from pytest_berth.services.wiremock.service import WIREMOCK

if TYPE_CHECKING:
    from pytest_berth.api import Server
    from pytest_berth.config.options import Settings


def is_shared(server: Server, settings: Settings) -> bool:
    """Tell whether others than the worker use a server: it then has a path of its own there."""
    return server.source == "external" or not (server.slot or settings[WIREMOCK.scope] == WORKER)


def address(server: Server, path: str) -> str:
    """Return the URL of what lies below a path; never the account, which is berth's alone."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    scheme = server.parameters.get("scheme", "http")
    return f"{scheme}://{host}:{server.port}{path}"
