"""Memcached passes what every service of pytest-berth has to."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from berth_memcached import ALLOW_RESET, MEMCACHED
from berth_memcached.backend import connect, identity

from pytest_berth.api import NotOursError
from pytest_berth.testing import ServiceConformance


class TestMemcached(ServiceConformance):
    """Real runs of pytest, against real servers."""

    service = MEMCACHED
    write = "memcached_client.set('key', 'value')"
    read = "memcached_client.get('key')"
    allow = f"{ALLOW_RESET.name} = {{host}}:{{port}}"


class TestMemcachedThatRestores(TestMemcached):
    """The same, with a namespace that has ``capture`` and ``restore``."""

    files: ClassVar = {"keeping.py": Path(__file__).with_name("keeping.py").read_text("utf-8")}
    settings = ("addopts = -p keeping",)
    wide_write = (
        "import pymemcache; pymemcache.Client(memcached_url[12:], default_noreply=False)"
        ".set('key', 'value')"
    )
    restores = True


def test_a_client_talks_to_the_workers_server(memcached_client):
    """The fixtures can be used in this very suite, too."""
    memcached_client.set("key", b"value")
    assert memcached_client.get("key") == b"value"


def test_what_is_written_has_arrived(memcached_client, memcached_server):
    """What the server has not read yet would be stored after it is emptied, for the next test."""
    with closing(connect(memcached_server.server)) as another:
        for number in range(1000):
            memcached_client.set(str(number), b"value")
            assert another.get(str(number)) == b"value"


def test_a_memcached_of_others_at_the_address_is_not_taken_for_berths(memcached_server):
    """It tells another number."""
    ours = memcached_server.server
    lost = replace(ours, credentials=replace(ours.credentials, token="1"))
    with closing(connect(ours)) as client:
        identity(client, ours)
        with pytest.raises(NotOursError):
            identity(client, lost)


def test_a_failing_test_shows_what_the_server_holds(pytester):
    """The report has a section for each method of the namespace that returns something."""
    pytester.makepyfile(
        keeping=TestMemcachedThatRestores.files["keeping.py"],
        test_it="""
            def test_it(memcached_client):
                memcached_client.set("key", b"value")
                assert False
        """,
    )
    pytester.syspathinsert()
    result = pytester.runpytest_subprocess("-pkeeping")
    result.stdout.fnmatch_lines(
        [
            "*- memcached: what the test changed -*",
            "key = b'value'",
            "*- memcached: look yourself -*",
            "telnet 127.0.0.1 *",
        ]
    )
