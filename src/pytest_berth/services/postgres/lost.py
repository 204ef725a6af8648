"""A server that is lost in the middle of a run: what each later test says of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_berth.errors import IsolationError, NotReadyError, StartError
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.lifecycle.state import Berth
    from pytest_berth.service import Server


@contextmanager
def told_when_lost(berth: Berth, server: Server) -> Iterator[None]:
    """Raise a clear error in place of a failed connection where the server does not answer.

    Raises:
        IsolationError: The server is lost.
    """
    import psycopg
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (psycopg.OperationalError, DBAPIError) as error:
        reason = _why_lost(berth, server)
        if not reason:
            raise
        raise _lost(server, reason) from error


def _why_lost(berth: Berth, server: Server) -> str:
    """Return why the server does not answer; nothing when it does."""
    try:
        POSTGRES.probe(server)
    except (NotReadyError, StartError) as error:
        return berth.manager.source(server).exit_status(server) or error.why or error.what
    return ""


def _lost(server: Server, reason: str) -> IsolationError:
    mend = "start it again" if server.source == "external" else "run again for a new one"
    return IsolationError(
        "no clean slate can be given: the postgres server is lost.",
        why=f"{server.source} at {server.host}:{server.port}: {reason}",
        remedy=f"{mend}; where nobody has stopped it, the end of its log says why it ended",
    )
