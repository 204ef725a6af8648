"""Whether a server answers, and what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from pytest_berth.errors import NotReadyError, StartError
from pytest_berth.services.redis import clients, urls

if TYPE_CHECKING:
    from pytest_berth.service import Server


def probe(server: Server) -> str:
    """Connect once and return the server's version, such as ``"8.2.1"``.

    Raises:
        NotReadyError: It does not answer yet.
        StartError: It refuses berth's password.
    """
    try:
        with clients.closing(clients.client(urls.url(server, 0))) as client:
            client.ping()
            return _version(client)
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        whose = "berth_redis_url" if server.source == "external" else f"port {server.port}"
        raise StartError(
            f"the server at {server.host}:{server.port} refuses berth's password.",
            why=str(error),
            remedy=f"check {whose}: another server may be listening there",
        ) from None
    except redis.RedisError as error:
        raise NotReadyError(" ".join(str(error).split())) from None


def _version(client: redis.Redis) -> str:
    try:
        found: Any = client.info("server")
    except redis.exceptions.NoPermissionError:
        return "(version not told)"
    if "valkey_version" in found:
        return f"{found['valkey_version']} (Valkey)"
    return str(found["redis_version"])
