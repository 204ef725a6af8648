"""Names the relations of a user that a statement waited for in vain."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.restore.errors import NotRepairable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from psycopg import sql

    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.transactions import Connection


class BlockedError(Exception):
    """A lock was not granted in time."""

    def __init__(self, oids: Collection[int], modes: Collection[str]) -> None:
        super().__init__()
        self.oids = oids
        self.modes = modes


@contextmanager
def waiting_on(relations: Iterable[Relation], modes: Collection[str]) -> Iterator[None]:
    """Say which relations a statement waited for when it did not get its locks."""
    try:
        yield
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        raise BlockedError({relation.oid for relation in relations}, modes) from error


def run(
    connection: Connection,
    statement: sql.Composed,
    relations: Sequence[Relation],
    modes: Collection[str] = open_transactions.BLOCK_WRITING,
) -> None:
    """Run a statement on relations; *modes* are the locks of others that stand in its way."""
    with writing(relations, modes):
        connection.execute(statement, prepare=False)


@contextmanager
def writing(
    relations: Sequence[Relation], modes: Collection[str] = open_transactions.BLOCK_WRITING
) -> Iterator[None]:
    """Name the relations where they are locked, or refuse the rows of the baseline."""
    try:
        with waiting_on(relations, modes):
            yield
    except psycopg.errors.IntegrityError as error:
        names = ", ".join(map(str, relations))
        raise NotRepairable(
            f"The rows of the baseline are no longer accepted by {names}.",
            why=str(error.diag.message_primary),
            remedy=f"give the test a private database: {PRIVATE}",
        ) from error
