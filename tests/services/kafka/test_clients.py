"""Clients of berth's own leave nothing open."""

from __future__ import annotations

import gc
import socket
import warnings

from pytest_berth.services.kafka.clients import ClosingSelector, QuickClient


def test_a_client_that_is_closed_while_it_connects_leaves_no_socket_open() -> None:
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting.connect(full.getsockname())
        # The queue of the listening socket is full: this one's connection hangs.
        host, port = full.getsockname()
        with warnings.catch_warnings(record=True) as seen:
            # What earlier tests of this process have left is not of this client.
            warnings.simplefilter("ignore")
            gc.collect()
            warnings.simplefilter("always")
            client = QuickClient(bootstrap_servers=f"{host}:{port}", selector=ClosingSelector)
            client.maybe_connect("bootstrap-0")
            client.poll(timeout_ms=100)
            client.close()
            del client
            gc.collect()
    assert [str(warning.message) for warning in seen] == []
