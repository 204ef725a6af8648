"""What a server takes long to answer can be interrupted, whichever way it was sent."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pytest_berth.services.postgres.isolation.pooled_sessions import Driver, make_new
from pytest_berth.services.postgres.isolation.rollback_connection import OuterTransaction
from pytest_berth.services.postgres.server.connections import exchange, value
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Database

LOCK = "SELECT pg_advisory_lock(1)"
WAITING = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@contextmanager
def unlocked_by_a_signal(db: Database, error: Exception | None = None) -> Iterator[None]:
    """Have the handler of a signal open what a statement waits for, and raise an error."""
    keeper = db.connect(autocommit=True)
    keeper.execute(LOCK)

    def send_when_it_waits() -> None:
        wait_for(lambda: db.app.execute(WAITING).fetchone(), 60)
        os.kill(os.getpid(), signal.SIGUSR1)

    def unlock(*_: object) -> None:
        keeper.execute("SELECT pg_advisory_unlock_all()")
        if error:
            raise error

    before = signal.signal(signal.SIGUSR1, unlock)
    sender = threading.Thread(target=send_when_it_waits)
    sender.start()
    try:
        yield
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)


def ask(connection: OuterTransaction) -> bytes | None:
    return value(connection, LOCK)


def send(connection: OuterTransaction) -> bytes | None:
    return connection.send(LOCK.encode()).get_value(0, 0)


def end(connection: OuterTransaction) -> bytes | None:
    connection.begin_test(b"SELECT 1")
    return connection.end_test(b"", LOCK.encode())


@pytest.mark.parametrize("wait", [ask, send, end])
def test_a_signal_gets_through(
    db: Database, wait: Callable[[OuterTransaction], bytes | None]
) -> None:
    with OuterTransaction.connect(db.dsn, options="-c lock_timeout=20s") as connection:
        with unlocked_by_a_signal(db):
            assert wait(connection) == b""
        connection.pgconn.finish()


def test_a_connection_that_was_interrupted_can_be_used(db: Database) -> None:
    db.berth.execute("SET lock_timeout = '20s'")
    with pytest.raises(InterruptedError), unlocked_by_a_signal(db, InterruptedError()):
        value(db.berth, LOCK)
    assert db.berth.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE
    assert value(db.berth, "SELECT 2") == b"2"


def test_what_cannot_be_asked_has_no_value(db: Database) -> None:
    assert value(db.berth, "SELECT NULL") is None
    assert value(db.berth, "SELECT 1 / 0") is None
    assert value(db.berth, "SELECT 1; SELECT 2") == b"2"
    if psycopg.Pipeline.is_supported():
        with db.berth.pipeline():
            assert value(db.berth, "SELECT 1") is None
    db.app.execute("SELECT pg_terminate_backend(%s, 60000)", [db.berth.info.backend_pid])
    assert value(db.berth, "SELECT 1") is None
    assert db.berth.closed
    db.app.close()
    with pytest.raises(psycopg.OperationalError):
        exchange(db.app, b"SELECT 1")


def test_a_lost_connection_is_no_error_at_the_end_of_a_rolled_back_test(db: Database) -> None:
    with OuterTransaction.connect(db.dsn, autocommit=True) as connection:
        driver: Any = Driver.of(connection)
        connection.begin_test(b"SELECT 1")
        db.app.execute("SELECT pg_terminate_backend(%s, 60000)", [connection.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            connection.rollback()
        assert connection.end_test(b"", b"SELECT 1") is None
        assert not make_new(connection, driver)
