"""Whether a server answers, and what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import redis

from pytest_berth.errors import NotReadyError, StartError
from pytest_berth.services.redis import clients
from pytest_berth.services.redis.options import TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.api import Server

_ANSWERS_WITHIN = 5.0
_USAGE_WITHIN = 2.0
# The commands of namespaces and restores, and of any client that only connects.
_BERTHS_OWN = {
    *("acl", "auth", "client", "command", "config", "dbsize", "discard", "dump", "echo", "exec"),
    *("flushdb", "function", "hello", "info", "memory", "module", "multi", "ping", "pttl"),
    *("quit", "reset", "restore", "role", "scan", "select", "slowlog", "time", "ttl", "unlink"),
}


def probe(server: Server) -> str:
    """Connect once and return the server's version, such as ``"8.2.1"``.

    Raises:
        NotReadyError: It does not answer yet.
        StartError: It refuses berth's password, or is not the server that berth has started.
    """
    try:
        with clients.closing(
            clients.berths_own(server, 0, answers_within=_ANSWERS_WITHIN)
        ) as client:
            client.ping()
            return _version(client)
    except clients.ForeignServerError as error:
        raise StartError(
            f"the server at {server.host}:{server.port} is not berth's.",
            why=str(error),
            remedy="end the other server, or run again: berth then starts one at another port",
        ) from None
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise _refused(server, str(error)) from None
    except redis.ResponseError as error:
        if not str(error).startswith("unknown command"):
            raise NotReadyError(" ".join(str(error).split())) from None
        raise _untold(server, str(error)) from None
    except redis.RedisError as error:
        raise NotReadyError(" ".join(str(error).split())) from None


def _refused(server: Server, message: str) -> StartError:
    if server.source == "external":
        return StartError(
            f"the server at {server.host}:{server.port} refuses the account of berth_redis_url.",
            why=message,
            remedy="check user and password in berth_redis_url",
        )
    return StartError(
        f"the server at {server.host}:{server.port} refuses berth's password.",
        why=message,
        remedy=f"check port {server.port}: another server may be listening there",
    )


def _untold(server: Server, message: str) -> StartError:
    return StartError(
        f"the server at {server.host}:{server.port} does not tell whether it is berth's.",
        why=f"berth asks it for a setting, CONFIG GET {TOKEN}: {message}",
        remedy="let CONFIG have its name in berth_redis_settings: no rename-command of it",
    )


def _version(client: redis.Redis) -> str:
    try:
        found: Any = client.info("server")
    except redis.exceptions.NoPermissionError:
        return "(version not told)"
    if "valkey_version" in found:
        return f"{found['valkey_version']} (Valkey)"
    return str(found["redis_version"])


def was_used(server: Server) -> bool:
    """Tell whether the server was sent commands that berth, or the greeting of a client, sends not.

    A client that has connected, and asked for nothing, is not told from berth's own.
    """
    with clients.closing(clients.berths_own(server, 0, answers_within=_USAGE_WITHIN)) as client:
        told = cast("Mapping[str, object]", client.info("commandstats"))
    names = {name.removeprefix("cmdstat_").partition("|")[0] for name in told}
    return bool(names - _BERTHS_OWN)
