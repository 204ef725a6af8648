"""Memcached for pytest-berth: the fixtures besides ``memcached_server`` and ``memcached_url``."""

from contextlib import closing
from urllib.parse import urlsplit

import pytest


@pytest.fixture
def memcached_client(memcached_url):
    """Yield a client of pymemcache, connected to this worker's server.

    It waits for answers, unlike others of pymemcache: what a test has sent, and the server has
    not read yet, would be stored after the server is emptied, for the next test to see.
    """
    from pymemcache import Client

    address = urlsplit(memcached_url)
    server = (address.hostname, address.port)
    with closing(Client(server, timeout=5, default_noreply=False)) as client:
        yield client
