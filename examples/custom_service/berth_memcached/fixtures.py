"""Memcached for pytest-berth: the fixtures besides ``memcached_server`` and ``memcached_url``."""

from contextlib import closing
from urllib.parse import urlsplit

import pytest


@pytest.fixture
def memcached_client(memcached_url):
    """Yield a client of pymemcache, connected to this worker's server."""
    from pymemcache import Client

    address = urlsplit(memcached_url)
    server = (address.hostname, address.port)
    # What a test does not wait for would be stored after the server is emptied, for the next one.
    with closing(Client(server, timeout=5, default_noreply=False)) as client:
        yield client
