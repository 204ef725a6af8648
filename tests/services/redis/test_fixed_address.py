"""Applications with a fixed address of Redis."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ini_settings import settings
from marks import nightly
from pytest_berth.errors import SettingsError
from pytest_berth.services.redis import database_numbers, fixed_address
from pytest_berth.services.redis.service import REDIS
from pytest_berth.sources import ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.redis.conftest import Yard

    from conftest import Project
    from pytest_berth.api import Service


@pytest.mark.parametrize("source", ["container", *nightly("local")])
def test_an_application_finds_what_it_has_written_down(
    project: Project, require_service: Callable[[Service, str], None], source: str
) -> None:
    require_service(REDIS, source)
    reservation = ports.reserve()
    reservation.lock.release()
    port = reservation.port
    project.ini(
        f"berth_redis_source = {source}",
        f"berth_redis_port = {port}",
        "berth_redis_password = nopass",
        "berth_redis_db = 3",
        "berth_autouse = redis",
        "berth_keep = 1m",
    )
    project.write(
        test_fixed=f"""
        import pytest
        import redis

        @pytest.mark.parametrize("number", range(2))
        def test_address(number):
            with redis.Redis(port={port}, db=3) as application:
                assert application.incr("count") == 1

        def test_fixture(redis_url, redis_client):
            assert redis_url.endswith(":{port}/3")
            assert redis_client.dbsize() == 0
        """
    )
    project.run().assert_outcomes(passed=3)
    ports.claim(REDIS, settings(REDIS, berth_redis_port=str(port)), [])  # and nothing listens there


def test_any_password_will_do(yard: Yard, connect: Callable[..., Any]) -> None:
    server = yard.start("local", berth_redis_password=r"""a "b\' #c@:/""")
    assert connect(server).ping()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"berth_redis_port": "6379"},
            "several workers cannot each have a Redis at the same port.",
        ),
        ({"berth_redis_db": "0"}, "several workers cannot work in one database number."),
        (
            {"berth_redis_url": "redis://there", "berth_redis_password": "a"},
            "berth_redis_password has no effect on a server that is given by URL.",
        ),
    ],
)
def test_what_cannot_be_fixed_is_told(given: dict[str, str], told: str) -> None:
    berth: Any = SimpleNamespace(settings=settings(REDIS, **given), run=SimpleNamespace(workers=2))
    with pytest.raises(SettingsError) as raised:
        fixed_address.check(berth)
    assert str(raised.value).startswith(told)
    assert f"{given.popitem()[0]} = " in raised.value.why


def test_workers_are_far_apart() -> None:
    for count in (1, 2, 10, 16, 256):
        numbers = [database_numbers.spread(index, count) for index in range(count)]
        assert sorted(numbers) == list(range(count))
    assert [database_numbers.spread(index, 256) for index in range(4)] == [0, 128, 64, 192]
    for workers in (1, 3, 8, 16):
        # xdist replaces those that crash, by others with new names.
        taken = sorted(database_numbers.spread(index, 256) for index in range(5 * workers))
        gaps = [later - earlier for earlier, later in itertools.pairwise(taken)]
        assert database_numbers.further(256, workers) <= min(gaps)
    assert database_numbers.further(16, 8) == 1
