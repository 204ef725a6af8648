"""Addresses: the URL that settings take, the endpoint that clients take, and their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from pytest_berth.api import Credentials, Server
from pytest_berth.services.s3.options import REGION, REGION_PARAMETER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.config.options import Settings

_SCHEME = "scheme"
_PORTS = {"http": 80, "https": 443}


def server(url: str, reason: str) -> Server:
    """Return the external server that a URL names: ``s3+https://key:secret@host?region=...``."""
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[2]
    host, port = parts.hostname or "", parts.port or _PORTS[scheme]
    region = parse_qs(parts.query).get(REGION_PARAMETER, [""])[0]
    return Server(
        "s3",
        "external",
        host,
        port,
        Credentials(unquote(parts.username or ""), unquote(parts.password or ""), ""),
        detail=f"{scheme}://{host}:{port}",
        reason=reason,
        parameters={_SCHEME: scheme, **({REGION_PARAMETER: region} if region else {})},
    )


def endpoint(server: Server) -> str:
    """Return the URL by which clients reach a server: ``http://127.0.0.1:19000``."""
    scheme = server.parameters.get(_SCHEME, "http")
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{scheme}://{host}:{server.port}"


def is_secure(server: Server) -> bool:
    """Tell whether a server is reached by TLS."""
    return server.parameters.get(_SCHEME) == "https"


def region(server: Server, settings: Settings) -> str:
    """Return the region that requests are signed for."""
    return server.parameters.get(REGION_PARAMETER) or settings[REGION]


def given_region(server: Server) -> str:
    """Return the region for what asks nothing but whether, and which, buckets are there."""
    return server.parameters.get(REGION_PARAMETER) or REGION.default


def prefix(run_id: str, worker: str = "") -> str:
    """Return what the names of a worker's buckets begin with; without one, of all of a run's."""
    return f"berth-{run_id}-{worker}-" if worker else f"berth-{run_id}-"


def client_options(server: Server, settings: Settings) -> dict[str, Any]:
    """Return the arguments that boto3 and aiobotocore take."""
    return {
        "endpoint_url": endpoint(server),
        "aws_access_key_id": server.credentials.user,
        "aws_secret_access_key": server.credentials.password,
        "region_name": region(server, settings),
    }


def placeholders(server: Server, settings: Settings, begins: str) -> Mapping[str, object]:
    """Return the values that ``berth_export`` may use; *begins* is the worker's prefix."""
    return {
        "s3_url": endpoint(server),
        "s3_host": server.host,
        "s3_port": server.port,
        "s3_access_key": server.credentials.user,
        "s3_secret_key": server.credentials.password,
        "s3_region": region(server, settings),
        "s3_bucket": f"{begins}bucket",
        "s3_prefix": begins,
    }
