"""The connection of rolled-back tests is usable after each, whatever fails at a test's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.services.postgres.isolation.rollback_connection import OuterTransaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.services.postgres.isolation.rollback import Outer

ONE = b"SELECT '1'"


@pytest.fixture(params=["psycopg", "psycopg2"])
def outer(request: pytest.FixtureRequest, pg_dsn: str) -> Iterator[Outer]:
    """A connection of each driver."""
    if request.param == "psycopg":
        made: Outer = OuterTransaction.connect(pg_dsn)
    else:
        psycopg2 = pytest.importorskip("psycopg2")
        from pytest_berth.services.postgres.isolation import rollback_connection_psycopg2 as of_2

        made = psycopg2.connect(pg_dsn, connection_factory=of_2.OuterTransaction2)
    yield made
    made.close()


def test_a_test_is_rolled_back_also_where_its_sequences_cannot_be_set_back(outer: Outer) -> None:
    outer.begin_test(ONE)
    outer.run(b"CREATE TABLE left_behind (); CREATE SEQUENCE gone")
    with pytest.raises(Exception, match='"gone" does not exist'):
        outer.end_test(b"SELECT setval('gone', 1)", ONE)
    assert not outer.is_aborted()
    outer.begin_test(ONE)
    assert outer.fetch("SELECT to_regclass('left_behind')") == [(None,)]
    assert outer.end_test(b"", ONE) == b"1"
