"""Giving back what a run has created on a server that others use too."""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING

from pytest_berth.debug_log import ignoring
from pytest_berth.services.s3 import urls
from pytest_berth.services.s3.buckets import Buckets
from pytest_berth.services.s3.connection import Connection, RefusedError

if TYPE_CHECKING:
    from pytest_berth.api import Server


def release(server: Server, run_id: str) -> None:
    """Delete the buckets whose names begin as a run's do, and no others."""
    connection = Connection(server, urls.given_region(server))
    buckets = Buckets(connection)
    gone = "the server is out of reach"
    try:
        with ignoring(OSError, HTTPException, why=gone):
            for name in buckets.names():
                if name.startswith(urls.prefix(run_id)):
                    with ignoring(RefusedError, why=f"the bucket {name} stays"):
                        buckets.remove(name)
    finally:
        connection.close()
