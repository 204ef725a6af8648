"""The administrator's connection stays open from one step of a start to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import NotOursError
from pytest_berth.services.postgres.databases.run_databases import administration
from pytest_berth.services.postgres.server import connections, parked_connection

if TYPE_CHECKING:
    from tests.contracts.conftest import Berthed


def test_the_next_step_goes_on_with_the_connection_of_the_last_one(berthed: Berthed) -> None:
    with administration(berthed.server, stays=True) as first:
        backend = first.info.backend_pid
    with administration(berthed.server) as second:
        is_the_same = second.info.backend_pid == backend
    with administration(berthed.server) as third:
        assert third.info.backend_pid != backend
    assert is_the_same is (berthed.server.source != "external")
    assert first.closed
    assert second.closed


def test_a_connection_that_was_ended_meanwhile_is_opened_anew(started: Berthed) -> None:
    server = started.server
    with administration(server, stays=True) as first:
        backend = first.info.backend_pid
    with connections.connect(server, server.credentials.database) as other:
        other.execute("SELECT pg_terminate_backend(%s, 60000)", [backend])
    with administration(server) as second:
        assert second.info.backend_pid != backend
    assert first.closed


def test_where_a_step_fails_its_connection_is_closed(started: Berthed) -> None:
    with pytest.raises(RuntimeError), administration(started.server, stays=True) as connection:
        raise RuntimeError
    assert connection.closed


def test_a_connection_that_leads_to_another_server_is_closed(started: Berthed) -> None:
    foreign, credentials = started.server, replace(started.server.credentials, token="another")
    server = replace(foreign, credentials=credentials)
    connection = connections.connect(foreign, foreign.credentials.database)
    parked_connection.park(server, connection)
    with pytest.raises(NotOursError):
        parked_connection.take(server)
    assert connection.closed
    assert parked_connection.take(server) is None
