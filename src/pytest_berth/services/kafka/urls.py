"""The addresses of brokers: ``host:port``, or several of them."""

from __future__ import annotations

import shlex

from pytest_berth.api import Credentials, Server

_SERVERS = "bootstrap"


def bootstrap(server: Server) -> str:
    """Return what a client takes as its bootstrap servers."""
    return server.parameters.get(_SERVERS) or _address(server.host, server.port)


def kcat(server: Server, topic: str) -> str:
    """Return the command line that prints a topic, or tells which topics there are."""
    what = ["-C", "-o", "beginning", "-e", "-t", topic] if topic else ["-L"]
    return shlex.join(["kcat", "-b", bootstrap(server), *what])


def server(text: str, reason: str) -> Server:
    """Return the external cluster that bootstrap servers name; it goes by the first of them."""
    host, _, port = text.split(",")[0].rpartition(":")
    return Server(
        "kafka",
        "external",
        host.strip("[]"),
        int(port),
        Credentials("", "", ""),
        detail=text,
        reason=reason,
        parameters={_SERVERS: text},
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
