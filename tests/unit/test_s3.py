"""How images that serve S3 are told their keys, and what URLs of S3 mean."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from ini_settings import settings
from pytest_berth.api import Credentials, Server
from pytest_berth.services.s3 import images, urls
from pytest_berth.services.s3.buckets import Buckets
from pytest_berth.services.s3.connection import Answer, ClosingServerError, Connection
from pytest_berth.services.s3.options import IMAGE, URL
from pytest_berth.services.s3.service import S3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACCOUNT = Credentials("AKEY", "a-secret-key", "", token="berth-token")


@pytest.mark.parametrize(
    ("image", "port", "command", "names"),
    [
        ("chrislusf/seaweedfs:4.53", 8333, "server", {"WEED_MASTER_VOLUME_GROWTH_COPY_1"}),
        (
            "rustfs/rustfs:1.0.0",
            9000,
            "/data",
            {
                "RUSTFS_ACCESS_KEY_FILE",
                "RUSTFS_SECRET_KEY_FILE",
                "RUSTFS_CONSOLE_ENABLE",
                "RUSTFS_OBS_LOG_DIRECTORY",
            },
        ),
        (
            "registry.example/mirror/MinIO:latest",
            9000,
            "server",
            {"MINIO_ROOT_USER_FILE", "MINIO_ROOT_PASSWORD_FILE", "MINIO_BROWSER"},
        ),
    ],
)
def test_keys_are_in_files_only(image: str, port: int, command: str, names: set[str]) -> None:
    made = images.container(image, ACCOUNT)

    assert (made.image, made.port, made.command[0]) == (image, port, command)
    assert made.environment.keys() == names
    shown = f"{made.environment} {made.command}"
    assert ACCOUNT.user not in shown
    assert ACCOUNT.password not in shown
    for path in made.environment.values():
        assert not path.startswith("/berth") or path in made.files
    assert ACCOUNT.password.encode() in b"".join(made.files.values())


def test_the_configuration_of_seaweedfs_has_the_keys() -> None:
    made = images.container("chrislusf/seaweedfs:4.53", ACCOUNT)
    (content,) = made.files.values()
    (identity,) = json.loads(content)["identities"]

    assert identity["credentials"] == [{"accessKey": "AKEY", "secretKey": "a-secret-key"}]
    assert f"-s3.config={next(iter(made.files))}" in made.command


@pytest.mark.parametrize(
    ("url", "endpoint", "secret", "region"),
    [
        ("s3+http://key:secret@host:9000", "http://host:9000", "secret", "us-east-1"),
        ("s3+https://key:a%2Fb@host", "https://host:443", "a/b", "us-east-1"),
        ("s3+http://key:s@[::1]:1?region=eu-west-1", "http://[::1]:1", "s", "eu-west-1"),
    ],
)
def test_a_url_names_endpoint_keys_and_region(
    tmp_path: Path, url: str, endpoint: str, secret: str, region: str
) -> None:
    server = urls.server(URL.parse(url), "")

    assert urls.endpoint(server) == endpoint
    assert urls.client_options(server, settings(S3, tmp_path)) == {
        "endpoint_url": endpoint,
        "aws_access_key_id": "key",
        "aws_secret_access_key": secret,
        "region_name": region,
    }
    assert secret not in server.detail


@pytest.mark.parametrize(
    "url",
    [
        "http://key:secret@host",
        "s3+http://host:9000",
        "s3+http://key@host",
        "s3+http://key:secret@host:port",
        "s3+http://key:secret@host/bucket",
        "s3+http://key:secret@host?versions=1",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"use a URL such as s3\+http://"):
        URL.parse(url)


def test_an_image_has_to_be_of_a_kind_that_is_known() -> None:
    assert IMAGE.parse(" rustfs/rustfs ") == "rustfs/rustfs"
    with pytest.raises(ValueError, match="seaweedfs, rustfs, minio"):
        IMAGE.parse("localstack/localstack")


def test_keys_are_decoded_also_where_a_space_is_a_plus() -> None:
    listed = b"""<ListVersionsResult><EncodingType>url</EncodingType><Version>
        <Key>a+b%2Bc.txt</Key><VersionId>1</VersionId><IsLatest>true</IsLatest>
        </Version></ListVersionsResult>"""
    asked = SimpleNamespace(ask=lambda *_, **__: Answer(200, {}, listed))
    found = Buckets(cast("Connection", asked)).versions("bucket")
    assert list(found or ()) == ["a b+c.txt"]


class Served(ThreadingHTTPServer):
    """A server that tells berth's token, and notes by which connection it was asked for what."""

    daemon_threads = True

    def __init__(self, closed: int) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.closed = closed
        self.asked: list[tuple[int, str]] = []


class Asked(BaseHTTPRequestHandler):
    """Answers; the connection is closed after as many answers as the server says."""

    protocol_version = "HTTP/1.1"
    server: Served

    def do_GET(self) -> None:
        """Answer."""
        self.server.asked.append((self.client_address[1], self.command))
        body = json.dumps({"token": ACCOUNT.token, "now": 0, "written": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if len(self.server.asked) % self.server.closed == 0:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET  # noqa: N815  its name there

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
        """Log nothing."""


@contextmanager
def served(closed: int) -> Iterator[tuple[Served, Connection]]:
    """Serve, and connect to it as to a local server of berth's."""
    server = Served(closed)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host, port = str(server.server_address[0]), server.server_address[1]
    connection = Connection(Server("s3", "local", host, port, ACCOUNT), "us-east-1")
    try:
        yield server, connection
    finally:
        connection.close()
        server.shutdown()
        server.server_close()


def test_nothing_is_sent_but_by_a_connection_that_has_proved_itself() -> None:
    with served(closed=3) as (server, connection):
        for _ in range(3):
            connection.ask("DELETE", "bucket")
        connection.journal(0)
    asked: dict[int, list[str]] = {}
    for port, method in server.asked:
        asked.setdefault(port, []).append(method)
    # The server has closed the first connection after the proof and two requests.
    assert list(asked.values()) == [["GET", "DELETE", "DELETE"], ["GET", "DELETE", "GET"]]


def test_a_server_that_closes_each_connection_is_not_asked_for_anything_after_the_proof() -> None:
    with served(closed=1) as (server, connection):
        with pytest.raises(ClosingServerError, match="closes each connection with its answer"):
            connection.ask("DELETE", "bucket")
        assert [method for _, method in server.asked] == ["GET"]
