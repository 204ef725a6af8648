"""Memcached for pytest-berth: what is known of it before a test needs one."""

from pytest_berth.api import Option, Service, words

ALLOW_RESET = Option(
    "berth_memcached_allow_reset",
    words,
    (),
    "host:port of servers given by URL that tests may empty",
    type="linelist",
)
MEMCACHED = Service(
    "memcached",
    "berth_memcached.backend:Memcached",
    version="1.6",
    image="memcached:{version}-alpine",
    scope="worker",  # nothing within a server keeps workers apart
    options=[ALLOW_RESET],
    packages=["pymemcache"],
    fixtures=["memcached_client"],
    fixture_module="berth_memcached.fixtures",
    usual_start=0.1,
)
