"""Memcached passes what every service of pytest-berth has to."""

from berth_memcached import ALLOW_RESET, MEMCACHED

from pytest_berth.testing import ServiceConformance


class TestMemcached(ServiceConformance):
    """Real runs of pytest, against real servers."""

    service = MEMCACHED
    write = "memcached_client.set('key', 'value')"
    read = "memcached_client.get('key')"
    allow = f"{ALLOW_RESET.name} = {{host}}:{{port}}"


def test_a_client_talks_to_the_workers_server(memcached_client):
    """The fixtures can be used in this very suite, too."""
    memcached_client.set("key", b"value")
    assert memcached_client.get("key") == b"value"
