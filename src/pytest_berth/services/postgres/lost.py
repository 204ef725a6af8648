"""A server that is lost in the middle of a run, as Postgres's drivers see it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy.exc import DBAPIError

from pytest_berth.lifecycle.losing import told_when_lost
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_berth.services.postgres.isolation import Isolation
    from pytest_berth.services.postgres.schema import Step
    from pytest_berth.services.postgres.workspace import Workspace

ERRORS = (psycopg.OperationalError, DBAPIError)


@contextmanager
def slate(workspace: Workspace, isolation: Isolation, seeds: Sequence[Step]) -> Iterator[None]:
    """Give a test a clean slate; in a new database where the server was lost before.

    Raises:
        LostError: The server is lost.
    """
    workspace.renew_if_lost()
    with (
        told_when_lost(workspace.berth, POSTGRES, workspace.server, ERRORS),
        workspace.slate(isolation, seeds),
    ):
        yield
