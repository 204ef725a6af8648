"""A service of any image passes what every service has to: the published conformance suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pytest_berth.services.declared import descriptor
from pytest_berth.services.generic import lines
from pytest_berth.testing import ServiceConformance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LINE = "store = memcached:1.6-alpine memcached:11211 reset=stored:flush"


class TestGeneric(ServiceConformance):
    """A memcached that berth knows nothing of; a function empties it."""

    service = descriptor(lines.parse(LINE, Path(), "pytest.ini"))
    sources = ("container",)
    settings = (f"berth_services = {LINE}", "addopts = -p stored")
    files: ClassVar[Mapping[str, str]] = {
        "stored.py": """
            import socket
            import pytest

            @pytest.fixture
            def store(store_server):
                return Store(store_server)

            def ask(host, port, text):
                with socket.create_connection((host, port), timeout=10) as client:
                    client.sendall(text.encode() + b"\\r\\n")
                    answer = client.recv(1000)
                if not answer:
                    raise ConnectionError("it has closed the connection")
                return answer

            def flush(server):
                assert ask(server.host, server.port("memcached"), "flush_all") == b"OK\\r\\n"

            class Store:
                def __init__(self, server):
                    self.address = server.host, server.port("memcached")

                def write(self):
                    assert ask(*self.address, "set key 0 0 5\\r\\nvalue") == b"STORED\\r\\n"

                def read(self):
                    return b"value" in ask(*self.address, "get key")
        """
    }
    fixtures: ClassVar[Sequence[str]] = ("store",)
    write = "store.write()"
    read = "store.read()"
    allow = "berth_store_allow_reset = {host}:{port}"
