"""Memcached for pytest-berth: the fixtures besides ``memcached_server`` and ``memcached_url``."""

from contextlib import closing
from urllib.parse import urlsplit

import pytest


@pytest.fixture
def memcached_client(memcached_url):
    """Yield a client of pymemcache, connected to this worker's server."""
    from pymemcache import Client

    address = urlsplit(memcached_url)
    with closing(Client((address.hostname, address.port), timeout=5)) as client:
        yield client
