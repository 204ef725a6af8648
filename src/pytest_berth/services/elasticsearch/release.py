"""What a run leaves on a server that others use: deleted with its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.debug_log import ignoring
from pytest_berth.services.elasticsearch import names, restore
from pytest_berth.services.elasticsearch.contents import Contents
from pytest_berth.services.elasticsearch.names import Names
from pytest_berth.services.elasticsearch.rest import CONNECTION_ERRORS, connected

if TYPE_CHECKING:
    from pytest_berth.api import Server


def release(server: Server, run_id: str) -> None:
    """Delete indices, templates and pipelines whose names begin with the run's prefix.

    No other run has its id. Where the server is out of reach there is nothing to be done.
    """
    of_run = names.of_run(run_id)
    unreachable = ignoring(*CONNECTION_ERRORS, why="what the run has there stays")
    with unreachable, connected(server) as rest:
        own = Names(of_run, of_run, is_alone=False, is_berths=False)
        restore.restore(Contents(rest, own), {})
