"""The fixture of the toy service."""

from contextlib import closing

import pytest


@pytest.fixture
def toy_write(_toy):
    """Return a function that writes to this worker's space."""
    client, name = _toy
    return lambda: client.ask(f"set {name} 0 0 5\r\nvalue")


@pytest.fixture
def toy_read(_toy):
    """Return a function that tells whether anything is there."""
    client, name = _toy
    return lambda: client.ask(f"get {name}") != ["END"]


@pytest.fixture
def _toy(toy_url):
    from toy_client import Client

    address, _, name = toy_url.partition("://")[2].partition("/")
    with closing(Client(*address.split(":"))) as client:
        yield client, name
