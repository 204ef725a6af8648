"""What answers at an address, and what does not."""

from __future__ import annotations

from socket import create_server

import pytest

from pytest_berth.errors import NotReadyError
from pytest_berth.services.mysql import connections, urls


def test_what_says_nothing_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server of HTTP, which waits to be asked: MySQL greets whoever connects."""
    monkeypatch.setattr(connections, "ANSWERS_WITHIN", 0.2)
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = urls.server(f"mysql://root:x@127.0.0.1:{port}/", "berth_mysql_url is set")
        with pytest.raises(NotReadyError):
            connections.probe(server)
