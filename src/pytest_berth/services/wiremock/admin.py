"""The admin API of a WireMock, over a connection that stays open.

Questions are sent together and answered in order (HTTP/1.1 pipelining): a look at a server costs
one round trip. Each new connection to a server of ours first asks whether it is that very server.
"""

from __future__ import annotations

import base64
import json
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import BerthError, NotOursError
from pytest_berth.services.wiremock.launch import TOKEN_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedReader

    from pytest_berth.api import Server

# Between tests nothing takes longer: a server that is stopped must not hang the run.
ANSWERS_WITHIN = 20.0
_CONNECT_WITHIN = 5.0
_ENDS = {b"\r\n", b"\n", b""}


class Question(NamedTuple):
    """A request to the admin API.

    Attributes:
        method: Such as ``"GET"``.
        path: Below ``/__admin``, such as ``"/mappings"``.
        body: What is sent as JSON; None for nothing.
    """

    method: str
    path: str
    body: object = None

    def __str__(self) -> str:
        return f"{self.method} /__admin{self.path}"


class AdminError(BerthError):
    """The admin API refuses a request."""


class Admin:
    """A connection to the admin API of a server.

    Args:
        server: The server.
        answers_within: Seconds that an answer may take.
    """

    def __init__(self, server: Server, answers_within: float = ANSWERS_WITHIN) -> None:
        self.server = server
        self._answers_within = answers_within
        self._connection: _Connection | None = None
        self._alone = threading.Lock()

    def ask(self, *questions: Question) -> list[bytes]:
        """Return the body of each answer.

        Raises:
            AdminError: One is refused, or not understood.
            NotOursError: Another server answers at the address of one of ours.
            OSError: There is no answer.
        """
        with self._alone:
            connection = self._connected()
            try:
                answers = connection.exchange(questions)
            except BaseException:
                self.close()  # an answer that is still on its way is not the next question's
                raise
        for question, (status, body) in zip(questions, answers, strict=True):
            if status >= 400:
                raise _refused(question, status, body)
        return [body for _, body in answers]

    def get(self, path: str) -> Any:
        """Return what the server tells at a path."""
        return json.loads(self.ask(Question("GET", path))[0])

    def post(self, path: str, body: object) -> Any:
        """Send JSON, and return the JSON of the answer; None where it is empty."""
        (answer,) = self.ask(Question("POST", path, body))
        return json.loads(answer) if answer else None

    def close(self) -> None:
        """Close the connection; the next question opens another one."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _connected(self) -> _Connection:
        if self._connection and self._connection.is_open():
            return self._connection
        self.close()
        self._connection = _Connection(_connect(self.server, self._answers_within), self.server)
        try:
            self._require_ours(self._connection)
        except BaseException:
            self.close()
            raise
        return self._connection

    def _require_ours(self, connection: _Connection) -> None:
        token = self.server.credentials.token
        if self.server.source == "external" or not token:
            return
        ((status, body),) = connection.exchange([Question("GET", "/files")])
        if status != 200 or TOKEN_FILE.format(token=token) not in json.loads(body):
            raise NotOursError(
                f"the WireMock at {self.server.host}:{self.server.port} is not the one that berth"
                " has started there.",
                why="it does not list the file that tells berth's from others: another one has come"
                " to its place, or a test has deleted the file",
            )


class _Connection:
    """A connection that questions are sent on together."""

    def __init__(self, connected: socket.socket, server: Server) -> None:
        self._socket = connected
        self._reader = connected.makefile("rb")
        self._head = _head(server)

    def is_open(self) -> bool:
        """Tell whether the server has not closed it: no answer is awaited, so nothing is there."""
        if self._socket.fileno() < 0:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            return not selector.select(0)

    def exchange(self, questions: Sequence[Question]) -> list[tuple[int, bytes]]:
        """Return status and body of each answer."""
        self._socket.sendall(b"".join(_rendered(each, self._head) for each in questions))
        answers = []
        for _ in questions:
            status, body, is_last = _read_answer(self._reader)
            answers.append((status, body))
        if is_last:
            self.close()
        return answers

    def close(self) -> None:
        """Close it."""
        self._reader.close()
        self._socket.close()


def _connect(server: Server, answers_within: float) -> socket.socket:
    connected = socket.create_connection(
        (server.host, server.port), min(answers_within, _CONNECT_WITHIN)
    )
    connected.settimeout(answers_within)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if server.parameters.get("scheme") != "https":
        return connected
    import ssl

    return ssl.create_default_context().wrap_socket(connected, server_hostname=server.host)


def _head(server: Server) -> str:
    """Return the headers of each request."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    head = f"Host: {host}:{server.port}\r\n"
    account = server.credentials
    if account.user:
        pair = base64.b64encode(f"{account.user}:{account.password}".encode()).decode()
        head += f"Authorization: Basic {pair}\r\n"
    return head


def _rendered(question: Question, head: str) -> bytes:
    body = b"" if question.body is None else json.dumps(question.body).encode()
    about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    line = f"{question.method} /__admin{question.path} HTTP/1.1\r\n"
    return f"{line}{head}{about}\r\n".encode() + body


def _read_answer(reader: BufferedReader) -> tuple[int, bytes, bool]:
    """Return status, body, and whether the connection ends with it.

    The parser of `http.client` takes twice as long as the server does.
    """
    words = reader.readline().split()
    if len(words) < 2 or not words[1].isdigit():
        raise ConnectionResetError("the server has closed the connection, or speaks no HTTP")
    headers: dict[bytes, bytes] = {}
    while (line := reader.readline()) not in _ENDS:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip().lower()
    status, is_last = int(words[1]), headers.get(b"connection") == b"close"
    if headers.get(b"transfer-encoding") == b"chunked":
        return status, b"".join(_chunks(reader)), is_last
    if b"content-length" in headers:
        return status, _exactly(reader, int(headers[b"content-length"])), is_last
    if status == 204 or not is_last:
        return status, b"", is_last
    return status, reader.read(), is_last


def _chunks(reader: BufferedReader) -> Any:
    while size := int(reader.readline().split(b";")[0] or b"0", 16):
        yield _exactly(reader, size)
        reader.readline()
    while reader.readline() not in _ENDS:
        pass


def _exactly(reader: BufferedReader, size: int) -> bytes:
    found = reader.read(size)
    if len(found) < size:
        raise ConnectionResetError("the server has closed the connection in the midst of an answer")
    return found


def _refused(question: Question, status: int, body: bytes) -> AdminError:
    """Return the error, with what WireMock says of the JSON that it does not understand."""
    told = body.decode(errors="replace").strip()
    with ignoring(ValueError, KeyError, TypeError, why="the answer is shown as it is"):
        told = "; ".join(
            " ".join([each["title"] + ":", each["source"]["pointer"], each.get("detail", "")])
            for each in json.loads(body)["errors"]
        )
    return AdminError(f"WireMock refuses {question} with status {status}.", why=told[:1000])
