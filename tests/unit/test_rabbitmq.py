"""RabbitMQ without a server: what its first answers mean."""

from __future__ import annotations

import gc
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from pytest_berth.api import Credentials, Server
from pytest_berth.errors import BerthError, NotReadyError, StartError
from pytest_berth.services.rabbitmq.probe import probe
from pytest_berth.services.rabbitmq.urls import MANAGEMENT

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def answering(status: int, name: str) -> Iterator[Server]:
    """Yield a server whose API answers always the same, and which speaks no AMQP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not status:  # as an engine's proxy does whose container does not listen yet
                return
            body = json.dumps({"name": name}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        account = Credentials("berth", "secret", "", token="token")
        port = server.server_port
        try:
            yield Server(
                "rabbitmq", "local", "127.0.0.1", port, account, parameters={MANAGEMENT: str(port)}
            )
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "name", "outcome"),
    [
        (0, "token", NotReadyError),
        (404, "token", NotReadyError),
        (503, "token", NotReadyError),
        (401, "token", StartError),
        (200, "another", StartError),
    ],
)
def test_an_api_that_does_not_know_its_resources_yet_is_no_other_server(
    status: int, name: str, outcome: type[BerthError]
) -> None:
    with answering(status, name) as server, pytest.raises(outcome):
        probe(server)
    gc.collect()
