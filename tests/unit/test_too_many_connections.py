"""A test that fails as the server has no connection left is told why that may be."""

from __future__ import annotations

import psycopg
from sqlalchemy.exc import OperationalError

from pytest_berth.reporting import hints


def test_too_many_clients_are_explained_also_behind_other_errors() -> None:
    refused = psycopg.OperationalError("FATAL:  sorry, too many clients already")
    wrapped = OperationalError("connect", None, refused)
    outer = RuntimeError("the order was not placed")
    outer.__cause__ = wrapped
    assert (
        hints.of_too_many_connections(refused)
        == hints.of_too_many_connections(outer)
        == hints._CONNECTIONS_HINT
    )
    assert not hints.of_too_many_connections(psycopg.OperationalError("connection refused"))
