"""Berth's own requests: a connection that is kept, and asks on whose server it is first.

boto3 takes a millisecond for each request, before anything is sent; between tests there are many.
"""

from __future__ import annotations

import json
import secrets
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys

from pytest_berth.services.s3 import urls
from pytest_berth.services.s3.launch import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.api import Server

# Between tests nothing takes longer: a server that is stopped must not hang the run.
ANSWERS_WITHIN = 20.0
OK, FORBIDDEN, NOT_FOUND = 200, 403, 404
_NO_KEY = "/~-._"


class ForeignServerError(ConnectionError):
    """Another server answers at the address of the one that berth has started."""

    def __init__(self, server: Server) -> None:
        super().__init__(
            f"the server that answers at {server.host}:{server.port} is not the one that berth has"
            " started there: nothing was done on it"
        )


class ClosingServerError(ConnectionError):
    """A server of berth's closes the connection on which it has proved that it is berth's."""

    def __init__(self, server: Server) -> None:
        super().__init__(
            f"the server at {server.host}:{server.port} closes each connection with its answer: on"
            " the next one another server may answer, so nothing was done on it"
        )


class RefusedError(Exception):
    """The server does not do what it was asked to.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, asked: str, answer: Answer) -> None:
        told = " ".join(answer.body.decode(errors="replace").split())[:300]
        super().__init__(asked, answer.status, told)
        self.status = answer.status

    def __str__(self) -> str:
        """Return what was asked, and the answer, in one line."""
        return ": ".join(map(str, self.args))


class Answer(NamedTuple):
    """What the server has answered; names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One connection to a server, made anew where the server has closed it.

    On each new one a server of ours has to prove that it is ours, before anything else is asked
    on it.
    One whose address another server has taken does not know our access key, or takes any secret;
    moto, which knows no secrets, tells its token.

    Args:
        server: The server.
        region: The region that requests are signed for.
        answers_within: Seconds that an answer may take.
    """

    def __init__(
        self, server: Server, region: str, *, answers_within: float = ANSWERS_WITHIN
    ) -> None:
        kind = HTTPSConnection if urls.is_secure(server) else HTTPConnection
        self._server = server
        self._region = region
        self._http = kind(server.host, server.port, timeout=answers_within)
        self._http.auto_open = 0  # each one is asked first whose server it leads to
        self._endpoint = urls.endpoint(server)
        account = server.credentials
        self._signer = self._signed_by(account.password)
        self._own = {"x-berth-token": account.token} if server.source == "local" else {}

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._http.close()

    def ask(
        self,
        method: str,
        bucket: str = "",
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        absent: bool = False,
        refused: bool = False,
    ) -> Answer:
        """Send a request and return the answer.

        Args:
            method: Such as ``"GET"``.
            bucket: Name of the bucket; empty for the server itself.
            key: Key of the object; empty for the bucket itself.
            query: Parameters.
            body: What is sent.
            headers: Headers to be signed, too.
            absent: Whether the answer may be that there is no such thing.
            refused: Whether it may be any error.

        Raises:
            RefusedError: The server answers with an error.
            ForeignServerError: It is another one.
            ClosingServerError: It does not keep the connection that it has proved itself on.
        """
        path = f"/{bucket}" + (f"/{quote(key, safe=_NO_KEY)}" if key else "")
        path += f"?{urlencode(query, quote_via=quote, safe='-_.~')}" if query else ""
        if self._http.sock is None:
            self._connect()
            answer = self._send(self._signer, method, path, body, headers)
        else:
            answer = self._send_again(method, path, body, headers)
        may_fail = refused or (absent and answer.status == NOT_FOUND)
        if answer.status >= 300 and not may_fail:
            raise RefusedError(f"{method} {path}", answer)
        return answer

    def journal(self, since: int) -> tuple[int, list[tuple[str, str, str]]] | None:
        """Return how far the server's journal goes, and what it tells since; None without one."""
        if self._server.source != "local":
            return None
        if self._http.sock is None:
            self._connect()
        try:
            told = self._journal(since)
        except (HTTPException, ConnectionError):
            self._connect()
            told = self._journal(since)
        self._require(told.get("token") == self._server.credentials.token)
        return told["now"], [tuple(each) for each in told["written"]]

    def _send_again(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None
    ) -> Answer:
        """Send by the connection that is open, or by another where the server has closed that."""
        try:
            return self._send(self._signer, method, path, body, headers)
        except (HTTPException, ConnectionError):
            self._connect()
            return self._send(self._signer, method, path, body, headers)

    def _connect(self) -> None:
        self._http.close()
        self._http.connect()
        if self._server.source == "external":
            return  # names of buckets tell there what is ours
        try:
            self._prove()
        except BaseException:
            self._http.close()
            raise
        if self._http.sock is None:
            raise ClosingServerError(self._server)

    def _prove(self) -> None:
        if self._server.source == "local":
            self._require(self._journal(0).get("token") == self._server.credentials.token)
            return
        wrong = self._signed_by(secrets.token_hex(20))
        self._require(self._send(wrong, "GET", "/").status == FORBIDDEN)
        if self._http.sock is None:
            raise ClosingServerError(self._server)
        self._require(self._send(self._signer, "GET", "/").status != FORBIDDEN)

    def _require(self, proven: bool) -> None:
        if not proven:
            self._http.close()
            raise ForeignServerError(self._server)

    def _journal(self, since: int) -> dict[str, Any]:
        self._http.request("GET", f"{JOURNAL}?{since}", headers=self._own)
        body = self._http.getresponse().read()
        try:
            told: dict[str, Any] = json.loads(body)
        except ValueError:
            return {}
        return told

    def _send(
        self,
        signer: S3SigV4Auth,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        request = AWSRequest(
            method, f"{self._endpoint}{path}", data=body, headers={**self._own, **(headers or {})}
        )
        signer.add_auth(request)
        try:
            self._http.request(method, path, body=body or None, headers=dict(request.headers))
            response = self._http.getresponse()
            content = response.read()
        except BaseException:
            self._http.close()
            raise
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, content)

    def _signed_by(self, secret: str) -> S3SigV4Auth:
        keys = Keys(self._server.credentials.user, secret)
        return S3SigV4Auth(keys, "s3", self._region)
