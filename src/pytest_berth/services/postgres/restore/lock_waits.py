"""Locks that were not granted in time, and what they were wanted for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pytest_berth.services.postgres.restore.catalog import Relation


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
