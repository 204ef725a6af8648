"""Requests over an engine's local socket, without its client.

To load docker-py and testcontainers takes longer than all that a run does with a server which is
there already, and the reaper has the standard library only.
"""

from __future__ import annotations

import json
import os
import socket
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pytest_berth.sources.container_engine import (
    CONTEXTS,
    PROPERTIES,
    SOCKET,
    EngineUnreachableError,
    file_of_home,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

STATES = "-eo pid,stat"
_ANSWERS_WITHIN = 5.0
_SCHEME = "unix://"


class _Connection(HTTPConnection):
    """A connection over a unix socket."""

    path = ""
    within = _ANSWERS_WITHIN

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.within)
        self.sock.connect(self.path)


def socket_path() -> str | None:
    """Return the engine's socket; None where only testcontainers can tell which engine is meant."""
    chosen = {name for name in os.environ if name.startswith(("DOCKER_", "TESTCONTAINERS_"))}
    address = os.environ.get("DOCKER_HOST", f"{_SCHEME}{SOCKET}")
    settled = chosen <= {"DOCKER_HOST"} and address.startswith(_SCHEME)
    if not settled or file_of_home(PROPERTIES) or _has_context():
        return None
    path = address.removeprefix(_SCHEME)
    return path if hasattr(socket, "AF_UNIX") and Path(path).exists() else None


def image_id(path: str, image: str) -> str:
    """Return the id of an image by its name, empty where the engine does not have it.

    Raises:
        EngineUnreachableError: The engine does not answer.
    """
    found = _ask(path, f"/images/{quote(image, safe='/:@')}/json")
    return str(found["Id"]) if found else ""


def is_suspended(path: str, container: str) -> bool:
    """Tell whether a container is paused, or one of its processes stopped."""
    try:
        found = _ask(path, f"/containers/{container}/json")
        if not found or not found["State"]["Running"]:
            return False
        if found["State"].get("Paused"):
            return True
        return has_stopped(_ask(path, f"/containers/{container}/top?ps_args={quote(STATES)}"))
    except EngineUnreachableError:
        return False  # nor does every engine tell of processes


def has_stopped(listed: Mapping[str, Any]) -> bool:
    """Tell whether any process in an engine's list is stopped."""
    return any(row[-1].startswith("T") for row in listed.get("Processes") or ())


def _ask(path: str, what: str) -> dict[str, Any]:
    """Return an engine's answer, empty where it does not know what it was asked about."""
    try:
        status, content = request(path, "GET", what)
    except (OSError, HTTPException) as error:
        raise EngineUnreachableError(str(error)) from error
    if status == HTTPStatus.NOT_FOUND:
        return {}
    if status != HTTPStatus.OK:
        raise EngineUnreachableError(content.decode(errors="replace")[:500])
    try:
        return dict(json.loads(content))
    except (ValueError, TypeError) as error:
        raise EngineUnreachableError(f"what answers is no engine: {error}") from error


def request(
    path: str,
    method: str,
    what: str,
    body: bytes | None = None,
    *,
    kind: str = "application/json",
    within: float = _ANSWERS_WITHIN,
) -> tuple[int, bytes]:
    """Send a request, and return the status and the content of the answer.

    Args:
        path: The engine's socket.
        method: Of HTTP.
        what: Path and query of the request.
        body: What is sent along.
        kind: What kind of content that is.
        within: For how many seconds it is waited for.

    Raises:
        OSError: The engine does not answer.
        http.client.HTTPException: It does, but not in HTTP.
    """
    connection = _Connection("localhost")
    connection.path, connection.within = path, within
    try:
        connection.request(method, what, body, {"Content-Type": kind} if body is not None else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _has_context() -> bool:
    file = file_of_home(CONTEXTS)
    if file is None:
        return False
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return known.get("currentContext", "default") not in {"", "default"}
    except (OSError, ValueError, AttributeError):
        return True
