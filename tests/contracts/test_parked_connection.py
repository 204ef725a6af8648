"""The administrator's connection stays open from one step of a start to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import NotOursError
from pytest_berth.services.postgres import prepare_snapshot
from pytest_berth.services.postgres.databases.run_databases import administration
from pytest_berth.services.postgres.server import connections, launch, parked_connection
from pytest_berth.services.postgres.server_objects import ServerObjects

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


def test_the_first_step_goes_on_with_the_connection_that_was_answered(berthed: Berthed) -> None:
    with administration(berthed.server):
        pass  # what a start has left
    launch.probe(berthed.server)
    assert parked_connection.is_there(berthed.server) is (berthed.server.source != "external")
    with administration(berthed.server) as connection:
        assert not parked_connection.is_there(berthed.server)
    assert connection.closed


def test_a_connection_stays_open_while_a_start_sets_the_password(started: Berthed) -> None:
    server = started.server
    with administration(server, stays=True) as connection:
        pass
    prepare_snapshot.set_password(server, server.credentials.password)
    assert parked_connection.is_there(server)
    with administration(server) as again:
        assert again is connection


def test_no_connection_stays_open_to_a_server_that_stops(started: Berthed) -> None:
    with administration(started.server):
        pass
    prepare_snapshot.set_password(started.server, started.server.credentials.password)
    assert not parked_connection.is_there(started.server)


def test_changes_of_the_server_are_looked_for_on_the_connection_of_its_start(
    started: Berthed,
) -> None:
    server, notes = started.server, list[str]()
    with administration(server, stays=True) as connection:
        for _ in range(10):
            connection.execute("SELECT 1")
    objects = ServerObjects(server, watched=True, note=notes.append)
    for _ in range(2):
        objects.remember()
        with connections.connect(server, server.credentials.database) as other:
            other.execute("CREATE ROLE left_behind")
        # To drop it, psycopg would forget all that is prepared, had it prepared anything itself.
        objects.put_back("a test", wrote=True)
    objects.close()
    assert notes == []
    with administration(server) as again:
        assert again is connection
    ServerObjects(server, watched=True, note=notes.append).close()
    with connections.connect(server, server.credentials.database) as other:
        found = other.execute("SELECT FROM pg_roles WHERE rolname = 'left_behind'").fetchall()
    assert found == []
