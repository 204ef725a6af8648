"""The management API, by a connection that stays open and first asks whose server it has reached.

Answers take a third of a millisecond. By its statistics the API tells what was up to five seconds
ago; with ``disable_stats=true`` it asks the queues and the connections themselves, and is exact.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import BerthError
from pytest_berth.services.rabbitmq import urls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_berth.api import Server

# Between tests nothing takes longer: a server that is stopped must not hang the run.
ANSWERS_WITHIN = 20.0
# So many answers fit into what the system takes in before anybody reads.
_AT_ONCE = 32
FORBIDDEN = {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}
# The server closes a connection after a number of requests, or a minute without one.
_CLOSED = (ConnectionError, http.client.BadStatusLine)


class ForeignServerError(ConnectionError):
    """Another server answers at the address of the one that berth works on."""

    def __init__(self, server: Server) -> None:
        super().__init__(
            f"the server that answers at {server.host}:{server.port} is not the one that berth"
            " works on: nothing was done there"
        )


class ApiRefusedError(BerthError):
    """The management API has answered with an error.

    Attributes:
        status: The status of HTTP.
    """

    def __init__(self, request: Request, status: int, reason: str) -> None:
        super().__init__(
            "RabbitMQ's management API refuses a request.",
            why=f"{request.method} {request.path}: status {status}, {reason}",
        )
        self.status = status


class Request(NamedTuple):
    """A request.

    Attributes:
        method: Such as ``"GET"``.
        path: Below ``/api``; names in it are quoted already.
        body: What is sent as JSON; None for nothing.
        missing: Whether what it is about may be missing; the answer is None then.
    """

    method: str
    path: str
    body: object = None
    missing: bool = False


def get(*names: str, query: str = "", missing: bool = False) -> Request:
    """Return the request for what a path of names leads to."""
    return Request("GET", path(*names) + (f"?{query}" if query else ""), missing=missing)


def delete(*names: str, query: str = "") -> Request:
    """Return the request to delete what a path of names leads to, if it is there."""
    return Request("DELETE", path(*names) + (f"?{query}" if query else ""), missing=True)


def put(*names: str, body: object) -> Request:
    """Return the request to make what a path of names is to lead to."""
    return Request("PUT", path(*names), body)


def path(*names: str) -> str:
    """Return a path of names, each quoted."""
    return "".join(f"/{quote(name, safe='')}" for name in names)


class Management:
    """The management API of a server.

    Args:
        server: The server.
        is_ours: Tells by the API, on each new connection and before anything else, whether that has
            reached the right server.
        answers_within: Seconds that an answer may take.
    """

    def __init__(
        self,
        server: Server,
        is_ours: Callable[[Callable[[Request], Any]], bool],
        answers_within: float = ANSWERS_WITHIN,
    ) -> None:
        self._server = server
        self._is_ours = is_ours
        self._within = answers_within
        self._open: _Connection | None = None
        self._told_at = ""

    def server_time(self) -> float:
        """Return the time by the server's clock, in seconds since 1970, as it last told it."""
        if not self._told_at:
            self.ask(get("whoami"))
        return parsedate_to_datetime(self._told_at).timestamp()

    def ask(self, request: Request) -> Any:
        """Send a request and return the answer; None where it has no content."""
        return self.ask_all([request])[0]

    def ask_all(self, requests: Sequence[Request]) -> list[Any]:
        """Send requests in one go, and return the answers in their order.

        Raises:
            ApiRefusedError: One of them is refused; all have been answered.
            OSError: The server does not answer, or is another one.
        """
        answers: list[Any] = []
        for begin in range(0, len(requests), _AT_ONCE):
            answers += self._asked(requests[begin : begin + _AT_ONCE])
        refused = (each for each in answers if isinstance(each, ApiRefusedError))
        for error in refused:
            raise error
        return answers

    def close(self) -> None:
        """Close the connection; the next request connects anew."""
        connection, self._open = self._open, None
        if connection:
            connection.close()

    def _asked(self, requests: Sequence[Request]) -> list[Any]:
        """Return answers and refusals.

        Requests may be sent twice, as each says how things are to be.
        """
        answers: list[Any] = []
        try:
            if self._open:
                with ignoring(*_CLOSED, why="it is connected anew"):
                    self._open.send(requests)
                    for request in requests:
                        answers.append(self._open.read(request))
            if len(answers) < len(requests):
                self.close()
                self._open = self._connected()
                self._open.send(requests[len(answers) :])
                for request in requests[len(answers) :]:
                    answers.append(self._open.read(request))
        except BaseException:
            self.close()  # an answer may be under way, and would be taken for a later one
            raise
        self._told_at = self._open.told_at if self._open else ""
        return answers

    def _connected(self) -> _Connection:
        made = _Connection(self._server, self._within)
        try:

            def ask(request: Request) -> Any:
                made.send([request])
                answer = made.read(request)
                if isinstance(answer, ApiRefusedError):
                    raise answer
                return answer

            if not self._is_ours(ask):
                raise ForeignServerError(self._server)
        except BaseException:
            made.close()
            raise
        return made


class _Connection:
    """A connection on which several requests are sent before the first answer is read.

    Attributes:
        told_at: The server's time, as its last answer tells.
    """

    def __init__(self, server: Server, within: float) -> None:
        parts = urlsplit(urls.management_url(server))
        host = parts.hostname or ""
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._made = kind(host, parts.port or kind.default_port, timeout=within)
        self._made.connect()
        self._made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = _Answers(self._made.sock)
        account = f"{server.credentials.user}:{server.credentials.password}"
        self._root = f"{parts.path}/api"
        self._headers = (
            f"Host: {parts.netloc}\r\nContent-Type: application/json\r\n"
            f"Authorization: Basic {base64.b64encode(account.encode()).decode()}\r\n"
        )
        self.told_at = ""

    def send(self, requests: Sequence[Request]) -> None:
        """Send requests in one go."""
        self._made.sock.sendall(b"".join(map(self._written, requests)))

    def read(self, request: Request) -> Any:
        """Read the answer to a request, the next one that was sent; a refusal is returned."""
        response = http.client.HTTPResponse(self._answers, method=request.method)  # type: ignore[arg-type]  # it only has a file made
        response.begin()
        content = response.read()
        self.told_at = response.headers.get("date", self.told_at)
        if request.missing and response.status == http.HTTPStatus.NOT_FOUND:
            return None
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            return ApiRefusedError(request, response.status, content.decode(errors="replace")[:500])
        return json.loads(content) if content else None

    def close(self) -> None:
        """Close it, and what reads from it, as the socket stays open until then."""
        self._answers.raw.close()
        self._made.close()

    def _written(self, request: Request) -> bytes:
        body = b"" if request.body is None else json.dumps(request.body).encode()
        head = (
            f"{request.method} {self._root}{request.path} HTTP/1.1\r\n{self._headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("ascii") + body


class _Answers(io.BufferedReader):
    """What is read from a socket, for one answer after the other: none of them closes it."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.makefile("rb", buffering=0))

    def makefile(self, *_: object, **__: object) -> _Answers:
        """Return itself."""
        return self

    def close(self) -> None:
        """Do nothing: the connection is closed by its socket."""

    def flush(self) -> None:
        """Do nothing, also when that is closed: an answer that never came says so at its end."""


def of_started(
    server: Server, *, starts: bool = False
) -> Callable[[Callable[[Request], Any]], bool]:
    """Return what tells a server that berth has started: by its token, the cluster's name.

    Args:
        server: The server.
        starts: Whether it may be on its way: its API answers before it knows all its resources,
            and such a refusal is raised.
    """
    token = server.credentials.token

    def is_ours(ask: Callable[[Request], Any]) -> bool:
        try:
            return bool(token) and ask(get("cluster-name"))["name"] == token
        except ApiRefusedError as error:
            if starts and error.status not in FORBIDDEN:
                raise
            return False  # another server refuses berth's account
        except (TypeError, KeyError, ValueError):
            return False  # it is something else

    return is_ours
