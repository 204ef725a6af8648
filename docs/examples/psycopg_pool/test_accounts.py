from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.errors import CheckViolation
from sqlalchemy import text

from app import balances, open_account, transfer


@pytest.fixture
def two_accounts():
    open_account("Ada", 10)
    open_account("Grace", 0)


def test_a_transfer_is_committed(two_accounts, pg_connection):
    transfer(4, "Ada", "Grace")

    rows = pg_connection.execute(text("SELECT owner, balance FROM accounts ORDER BY owner"))
    assert rows.all() == [("Ada", 6), ("Grace", 4)]


def test_what_is_refused_is_rolled_back_as_a_whole(two_accounts):
    with pytest.raises(CheckViolation):
        transfer(11, "Ada", "Grace")

    assert balances() == {"Ada": 10, "Grace": 0}


def test_transfers_at_the_same_time_wait_for_each_other(two_accounts):
    with ThreadPoolExecutor() as threads:
        for _ in range(10):
            threads.submit(transfer, 1, "Ada", "Grace")

    assert balances() == {"Ada": 0, "Grace": 10}


def test_the_next_test_starts_clean():
    assert balances() == {}
