"""What berth asks Postgres for a report never hangs, and leaves a test's transaction as it is."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.services.postgres import urls
from pytest_berth.services.postgres.failure import asking
from pytest_berth.services.postgres.failure.asking import NoAnswerError
from pytest_berth.services.postgres.isolation.rollback_connection import OuterTransaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Server


@pytest.fixture
def server(outer_url: str) -> Server:
    """The outer run's server, as a given URL names it."""
    return urls.server(outer_url, "for this test")


@contextmanager
def forwarding(server: Server) -> Iterator[tuple[Server, threading.Event]]:
    """Yield a server behind a forwarder for one connection, and what lets it forward."""
    forwards = threading.Event()
    forwards.set()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def pump(source: socket.socket, target: socket.socket) -> None:
            while data := source.recv(65536):
                forwards.wait()
                target.sendall(data)

        def serve() -> None:
            inner, _ = listening.accept()
            outer = socket.create_connection((server.host, server.port))
            for pair in ((inner, outer), (outer, inner)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield replace(server, host="127.0.0.1", port=listening.getsockname()[1]), forwards
        forwards.set()


def test_a_server_that_stops_answering_is_hung_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_WITHIN", 1.0)
    database = server.credentials.database
    with forwarding(server) as (behind, forwards), asking.beside(behind, database) as ask:
        assert ask("SELECT 1, NULL, true::text") == [("1", None, "true")]
        forwards.clear()
        with pytest.raises(NoAnswerError):
            ask("SELECT 2")


def test_a_server_that_never_answers_is_given_up(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        silent = replace(server, host="127.0.0.1", port=listening.getsockname()[1])
        with (
            pytest.raises(NoAnswerError, match="the server does not answer"),
            asking.beside(silent, "postgres"),
        ):
            pass


def test_a_transaction_stays_as_it_is_while_it_is_asked(server: Server) -> None:
    outer = OuterTransaction.connect(urls.dsn(server, server.credentials.database))
    with closing(outer):
        outer.begin_test(b"SELECT 1")
        outer.row_factory = psycopg.rows.dict_row
        outer.execute("SET LOCAL statement_timeout = 12345")
        outer.execute("CREATE TEMP TABLE kept AS SELECT 1 AS n")
        with asking.in_test(outer) as ask:
            assert ask("SELECT n FROM pg_temp.kept") == [("1",)]
            for wrong in ("SELECT nothing", "SELECT pg_sleep(9)"):
                with pytest.raises(NoAnswerError):
                    ask(wrong)
            ask("CREATE TEMP TABLE gone ()")
        asked = "SELECT current_setting('statement_timeout') AS t, to_regclass('gone') AS gone, n"
        assert outer.execute(f"{asked} FROM kept").fetchall() == [
            {"t": "12345ms", "gone": None, "n": 1}
        ]
        with pytest.raises(psycopg.errors.UndefinedColumn):
            outer.execute("SELECT nothing")
        with (
            pytest.raises(NoAnswerError, match="the error has aborted the test's transaction"),
            asking.in_test(outer),
        ):
            pass
        outer.rollback()
        outer.end_test(b"", b"SELECT 1")
        with pytest.raises(NoAnswerError, match="ended its transaction"), asking.in_test(outer):
            pass
