"""The fixture of the toy service."""

import threading
import time
from contextlib import closing, contextmanager

import pytest
from toy_backend import FAULT


@pytest.fixture
def toy_write(_toy, toy_url):
    """Return a function that writes to this worker's space."""
    client, name = _toy

    def write():
        client.ask(f"set {name} 0 0 5\r\nvalue")
        if FAULT == "does not wait for its writes":
            threading.Thread(target=_write_on, args=(toy_url,)).start()

    return write


def _write_on(url):
    """Write for another moment, as what a client has sent and not waited for may come late."""
    with _connected(url) as (client, name):
        ends = time.monotonic() + 0.05
        while time.monotonic() < ends:
            client.ask(f"set {name} 0 0 5\r\nvalue")


@pytest.fixture
def toy_read(_toy):
    """Return a function that tells whether anything is there."""
    client, name = _toy
    return lambda: client.ask(f"get {name}") != ["END"]


@pytest.fixture
def _toy(toy_url):
    with _connected(toy_url) as connected:
        yield connected


@contextmanager
def _connected(url):
    from toy_client import Client

    address, _, name = url.partition("://")[2].partition("/")
    with closing(Client(*address.split(":"))) as client:
        yield client, name
