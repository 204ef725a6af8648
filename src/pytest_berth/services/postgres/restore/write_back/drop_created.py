"""Drops what a test has created beside the schema; rows of wider-scoped fixtures stay.

Nothing is dropped unless the schema is the baseline's afterwards, to the last row of its catalogs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.debug_log import debug
from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.restore import schema_fingerprint
from pytest_berth.services.postgres.restore.transactions import transaction

if TYPE_CHECKING:
    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.transactions import Connection


# A transaction that is left open and has read there is not waited for: a new database is quicker.
_WAITS_AT_MOST = 1.0


class _StillDiffersError(Exception):
    """The schema is not the baseline's even without what was created."""


def drop(connection: Connection, baseline: Baseline, *, lock_timeout: float) -> list[str]:
    """Drop what was created since the baseline; return what that was.

    Returns:
        What was created; nothing where more than that was changed, and so nothing dropped.
    """
    kept = baseline.fingerprint
    try:
        with transaction(connection, lock_timeout=min(lock_timeout, _WAITS_AT_MOST)):
            told = schema_fingerprint.differences(connection, kept)
            for kind, name in schema_fingerprint.created(connection, kept):
                # Both are written by the server, quoted; an earlier one may have taken it along.
                connection.execute(sql.SQL(f"DROP {kind} IF EXISTS {name} CASCADE"))
            if schema_fingerprint.differences(connection, kept):
                raise _StillDiffersError
    except (_StillDiffersError, IsolationError, psycopg.Error) as error:
        debug("postgres: the database is replaced: %s: %s", type(error).__name__, error)
        return []
    return [each for each in told if not each.startswith("column ")]
