"""Which database numbers of a shared Redis are a worker's, and which are nobody's."""

from __future__ import annotations

from pathlib import Path

from pytest_berth.config.options import defaults
from pytest_berth.services.redis import database_numbers
from pytest_berth.services.redis.options import OPTIONS


def test_numbers_of_nobody_are_those_that_no_worker_has_for_itself() -> None:
    settings = defaults(Path(), OPTIONS)
    databases = database_numbers.count(settings)
    unclaimed = database_numbers.unclaimed(settings, workers=2)
    for index in range(10):
        first = database_numbers.spread(index, databases)
        own = range(first, first + database_numbers.further(databases, 2))
        assert unclaimed.isdisjoint(own)
    assert unclaimed
    assert unclaimed <= set(range(databases))
    assert database_numbers.unclaimed(settings, workers=1) == set()
