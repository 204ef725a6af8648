"""The application's connections are looked at while the application goes on with them."""

from __future__ import annotations

import psycopg
import psycopg2.extensions

from pytest_berth.services.postgres.application_connections import Application
from pytest_berth.services.postgres.restore.open_transactions import OpenTransaction


def test_a_connection_that_cannot_be_looked_at_fails_nobody() -> None:
    # As one is that another thread is opening, or has just closed.
    kinds = (psycopg.Connection, psycopg.AsyncConnection, psycopg2.extensions.connection)
    unborn = [kind.__new__(kind) for kind in kinds]
    application = Application()
    opened = OpenTransaction(
        1, "1/1", "", "idle in transaction", 1.0, "", wrote=True, is_writing=False, locks=()
    )
    assert application.backends("of_no_other_test") == set()
    assert not application.roll_back(opened, "of_no_other_test")
    assert len(unborn) == len(kinds)
