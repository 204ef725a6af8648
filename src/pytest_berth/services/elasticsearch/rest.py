"""berth's own requests to a server, over a connection that has told whose server it is.

They go by the standard library: neither client is needed, and neither can be in the way.
"""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pytest_berth.debug_log import ignoring

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_berth.api import Server

CONNECTION_ERRORS = (OSError, HTTPException)
# Between tests nothing takes longer: a server that stands still must not hang the run.
ANSWERS_WITHIN = 30.0
_NOT_FOUND = 404
_REFUSED = 400
_NO_CLUSTER_YET = "_na_"
_LONGEST_TOLD = 500


class ForeignServerError(ConnectionError):
    """Another server answers at the address of the one that is meant."""


class RequestRefusedError(Exception):
    """The server has refused a request of berth's.

    Attributes:
        status: The HTTP status of its answer.
    """

    def __init__(self, request: str, status: int, told: bytes) -> None:
        super().__init__(request, status, told)
        self.status = status
        self._request = request.partition("?")[0]
        self._told = told.decode(errors="replace")[:_LONGEST_TOLD]

    def __str__(self) -> str:
        return f"{self._request}: {self.status} {self._told}"


class Rest:
    """Requests to one server, one after the other.

    Each new connection asks for the cluster first: a server of berth's bears its token as the
    cluster's name, any other one has to be the cluster that the first connection has found.

    Args:
        server: The server.
        answers_within: Seconds that an answer may take.
    """

    def __init__(self, server: Server, *, answers_within: float = ANSWERS_WITHIN) -> None:
        self._server = server
        self._cluster = ""
        kind = HTTPSConnection if server.parameters.get("scheme") == "https" else HTTPConnection
        place = (server.host, server.port)
        self._connection = kind(*place, timeout=answers_within)
        self._connection.auto_open = 0  # each one is asked first whose server it leads to
        account = server.credentials
        self._headers = {"Accept": "application/json"}
        if account.user:
            secret = base64.b64encode(f"{account.user}:{account.password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {secret}"

    def close(self) -> None:
        """Close the connection; the next request opens it anew."""
        self._connection.close()

    def on(self, server: Server) -> None:
        """Go on with the server that takes the place of the former one."""
        self.close()
        self._server, self._cluster = server, ""

    def about(self) -> dict[str, Any]:
        """Return what the server tells of itself, asked anew."""
        self.close()
        return self._open()

    def get(self, path: str, *, or_none: bool = False) -> Any:
        """Return the answer to a GET; None where there is no such thing, if that may be."""
        return self._request("GET", path, or_none=or_none)

    def put(self, path: str, body: object) -> Any:
        """Return the answer to a PUT."""
        return self._request("PUT", path, json.dumps(body))

    def post(self, path: str, body: object | None = None) -> Any:
        """Return the answer to a POST."""
        return self._request("POST", path, None if body is None else json.dumps(body))

    def post_lines(self, path: str, lines: Sequence[str]) -> Any:
        """Return the answer to a POST of one JSON text a line."""
        return self._request("POST", path, "".join(f"{line}\n" for line in lines))

    def delete(self, path: str) -> Any:
        """Return the answer to a DELETE; None where there is no such thing any more."""
        return self._request("DELETE", path, or_none=True)

    def _request(
        self, method: str, path: str, body: str | None = None, *, or_none: bool = False
    ) -> Any:
        connection = self._connection
        was_open = connection.sock is not None
        try:
            self._send(method, path, body)
            response = connection.getresponse()
        except (ConnectionError, HTTPException) as error:
            connection.close()
            if not was_open or isinstance(error, ForeignServerError):
                raise
            # It was closed while idle. Each request of ours may be carried out twice.
            self._send(method, path, body)
            response = connection.getresponse()
        except OSError:
            connection.close()
            raise
        return self._answer(response, f"{method} {path}", or_none=or_none)

    def _send(self, method: str, path: str, body: str | None) -> None:
        if self._connection.sock is None:
            self._open()
        headers = self._headers
        if body is not None:
            kind = "x-ndjson" if body.endswith("\n") else "json"
            headers = {**headers, "Content-Type": f"application/{kind}"}
        self._connection.request(method, path, body and body.encode(), headers)

    def _open(self) -> dict[str, Any]:
        """Connect, make sure that it is the server that is meant, and return what it tells."""
        try:
            self._connection.connect()
            self._connection.request("GET", "/", headers=self._headers)
            told: dict[str, Any] = self._answer(self._connection.getresponse(), "GET /")
            self._require_meant(told)
        except BaseException:
            self._connection.close()
            raise
        return told

    def _require_meant(self, told: Any) -> None:
        name, uuid = (str(told.get(key, "")) for key in ("cluster_name", "cluster_uuid"))
        token, place = self._server.credentials.token, f"{self._server.host}:{self._server.port}"
        if token and name != token:
            raise ForeignServerError(
                f"the server that answers at {place} is not the one that berth has started there:"
                " nothing was done on it"
            )
        if self._cluster and uuid != self._cluster:
            raise ForeignServerError(
                f"another cluster answers at {place} than before: nothing was done on it"
            )
        if not token and uuid != _NO_CLUSTER_YET:
            self._cluster = uuid

    def _answer(self, response: Any, request: str, *, or_none: bool = False) -> Any:
        content = response.read()
        if response.status == _NOT_FOUND and or_none:
            return None
        if response.status >= _REFUSED:
            raise RequestRefusedError(request, response.status, content)
        return json.loads(content) if content else None


@contextmanager
def connected(server: Server, *, answers_within: float = ANSWERS_WITHIN) -> Iterator[Rest]:
    """Open berth's own connection to a server."""
    opened = Rest(server, answers_within=answers_within)
    try:
        yield opened
    finally:
        with ignoring(*CONNECTION_ERRORS, why="the connection is gone anyway"):
            opened.close()


def joined(names: Sequence[str]) -> str:
    """Return names as they stand in a path."""
    return ",".join(quote(name, safe="*") for name in names)
