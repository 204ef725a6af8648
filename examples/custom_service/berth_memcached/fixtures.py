"""Memcached for pytest-berth: the fixtures besides ``memcached_server`` and ``memcached_url``."""

from contextlib import closing
from urllib.parse import urlsplit

import pytest


@pytest.fixture
def memcached_client(memcached_url):
    """Yield a client that waits for answers: a write on its way would outlive the clean slate."""
    from pymemcache import Client

    server = urlsplit(memcached_url).netloc
    with closing(Client(server, timeout=5, default_noreply=False)) as client:
        yield client
