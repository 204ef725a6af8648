"""Statements that change a user's relations: what stops them is told by the relations' names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.restore.errors import NotRepairable
from pytest_berth.services.postgres.restore.lock_waits import waiting_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from psycopg import sql

    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.transactions import Connection


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
