"""moto's S3 as a server, which tells who it is and what has been written to it.

A program of its own, which imports nothing of pytest_berth. moto knows no keys: here requests with
another access key than the server's are refused, so that a wrong one does not pass unseen.

Its journal has a line for each request that may have written something: bucket, kind, key. Berth
reads from where it last read to, and so need not look at all that there is. A request is noted when
it has been carried out, and before its client hears of it.

werkzeug's own server closes each connection with its answer. Here connections stay open: on that on
which the server has told who it is, berth deletes.
"""

from __future__ import annotations

import io
import json
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from moto.moto_server import werkzeug_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_OWN = "HTTP_X_BERTH_TOKEN"
_READ = {"GET", "HEAD", "OPTIONS"}
_KEY = re.compile(r"Credential=([^/,]+)/|^AWS ([^:]+):")
_ADDRESS = re.compile(r"[\d.]+|\[[\da-f:]+\]|localhost")
_REFUSED = b"<Error><Code>InvalidAccessKeyId</Code><Message>%s</Message></Error>"
_UPLOADS = {"uploads", "uploadId"}
_NO_CONTENT = {204, 304}


class Journal:
    """moto's application, with a journal before it.

    Args:
        app: What serves S3.
        place: Path of the journal.
        token: What tells this server from others.
        access_key: The only one that may be used.
    """

    def __init__(
        self, app: Callable[..., Iterable[bytes]], place: str, token: str, access_key: str
    ) -> None:
        self._app = app
        self._place = place
        self._token = token
        self._access_key = access_key
        self._written: list[tuple[str, str, str]] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        if environ["PATH_INFO"] == self._place:
            return self._tell(environ, start)
        key = _access_key(environ)
        if key not in {"", self._access_key}:
            told = f"the access key {key} is not the one of this server".encode()
            return _answer(start, "403 Forbidden", "application/xml", _REFUSED % told)
        try:
            return self._app(environ, start)
        finally:
            if environ["REQUEST_METHOD"] not in _READ and environ.get(_OWN) != self._token:
                self._written.append(_written(environ))

    def _tell(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        since = int(environ["QUERY_STRING"] or 0)
        now = len(self._written)
        told = {"token": self._token, "now": now, "written": self._written[since:now]}
        return _answer(start, "200 OK", "application/json", json.dumps(told).encode())


def _answer(start: Callable[..., Any], status: str, kind: str, body: bytes) -> list[bytes]:
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def _access_key(environ: dict[str, Any]) -> str:
    """Return the access key that a request is signed with; empty for an anonymous one."""
    found = _KEY.search(environ.get("HTTP_AUTHORIZATION", ""))
    if found:
        return found[1] or found[2]
    query = parse_qs(environ["QUERY_STRING"])
    (signed,) = query.get("X-Amz-Credential") or query.get("AWSAccessKeyId") or [""]
    return str(signed).partition("/")[0]


def _written(environ: dict[str, Any]) -> tuple[str, str, str]:
    """Return bucket, kind and key of what a request may have written.

    The kind is ``bucket``, for what is set on it, ``object`` or ``upload``. No bucket stands for
    all, and no key for any.
    """
    bucket, _, key = _path(environ).lstrip("/").partition("/")
    host = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
    if not _ADDRESS.fullmatch(host) or bucket in {"", "moto-api"}:
        return "", "bucket", ""
    names = set(parse_qs(environ["QUERY_STRING"], keep_blank_values=True))
    is_form = environ["REQUEST_METHOD"] == "POST" and not names
    if names & _UPLOADS:
        return bucket, "upload", key
    is_object = bool(key) or is_form or "delete" in names
    return bucket, "object" if is_object else "bucket", key


def _path(environ: dict[str, Any]) -> str:
    return unquote(str(environ["RAW_URI"]).partition("?")[0])


class Requests(WSGIRequestHandler):
    """What reads requests: clients may send several over one connection."""

    protocol_version = "HTTP/1.1"
    # An answer is written in two pieces: the second one does not wait until the first has arrived.
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Serve a request: read all of it, and answer with a length.

        werkzeug's own reads on until the client has closed the connection.
        """
        environ = self.make_environ()
        environ["wsgi.input"] = io.BytesIO(self._body(environ))
        try:
            chunks, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        except Exception:  # whatever it is, the client is answered
            self.server.log("error", "Error on request:\n%s", traceback.format_exc())
            self.send_error(500)
            return
        self._answer(status, headers.to_wsgi_list(), b"".join(chunks))

    def _body(self, environ: dict[str, Any]) -> bytes:
        body = environ["wsgi.input"]
        if environ.get("wsgi.input_terminated"):
            self.close_connection = True  # what may follow the last chunk is not read
            return bytes(body.read())
        return bytes(body.read(int(environ.get("CONTENT_LENGTH") or 0)))

    def _answer(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        code = int(status[:3])
        self.send_response(code, status[4:])
        told = {name.lower(): value for name, value in headers}
        has_body = self.command != "HEAD" and code not in _NO_CONTENT
        if has_body and "content-length" not in told:
            headers = [*headers, ("Content-Length", str(len(body)))]
        elif has_body and told["content-length"] != str(len(body)):
            self.close_connection = True  # the client would wait for what is missing
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log a request, unless it is berth's own."""
        if "x-berth-token" not in self.headers:
            self.log("info", '"%s" %s %s', self.requestline, code, size)


def main(path: str) -> None:
    """Serve until the process is ended.

    Args:
        path: The file that has the port, and what `Journal` takes.
    """
    told = json.loads(Path(path).read_text(encoding="utf-8"))
    app = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
    app.app_instances["s3"] = werkzeug_app.create_backend_app("s3")
    port = told.pop("port")
    # Newer ones read headers better.
    motos = getattr(werkzeug_app, "MotoRequestHandler", WSGIRequestHandler)
    handler = type("Handler", (Requests, motos), {})
    server = make_server(
        "127.0.0.1", port, Journal(app, **told), threaded=True, request_handler=handler
    )
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
