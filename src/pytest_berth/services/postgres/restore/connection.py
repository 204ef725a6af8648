"""The connection that restores a database: opened when it is needed, open until the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_berth.services.postgres.restore.capture import capture
from pytest_berth.services.postgres.restore.restore import confirm, restore
from pytest_berth.services.postgres.restore.stored_baseline import load
from pytest_berth.services.postgres.restore.write_back import drop_created
from pytest_berth.services.postgres.server.backend_crash import is_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pytest_berth.services.postgres.application_connections import Application
    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.restore import Restored
    from pytest_berth.services.postgres.restore.transactions import Connection


@dataclass
class RestoreConnection:
    """A connection of berth's own to one database; it keeps what baselines have copied.

    Attributes:
        connect: Opens the connection, and proves that it leads to the right server.
        lock_timeout: Seconds to wait for locks that a test has left.
        ours: Whether the run has created the database: only then it gets an event trigger.
        application: What knows the application's connections in this process.
    """

    connect: Callable[[], Connection] = field(repr=False)
    lock_timeout: float
    ours: bool = False
    application: Application | None = field(default=None, repr=False)

    @cached_property
    def psycopg(self) -> Connection:
        """The connection itself, in autocommit mode; a new one proves anew where it leads."""
        return self.connect()

    def load(self, like: Baseline | None = None) -> Baseline | None:
        """Return the baseline that the template had, if the database still holds it.

        Args:
            like: What another clone of the same template held, where there is one.
        """
        if not self.ours:
            return None
        return load(self.psycopg, lock_timeout=self.lock_timeout, like=like)

    def capture(self, known: Baseline | None = None) -> Baseline:
        """Remember what the database holds.

        Args:
            known: What it held before.
        """
        return capture(self.psycopg, lock_timeout=self.lock_timeout, watch=self.ours, known=known)

    def confirm(self, baseline: Baseline) -> Baseline | None:
        """Return the baseline if the database still holds it, with a new position; else None."""
        return confirm(self.psycopg, baseline, lock_timeout=self.lock_timeout)

    def restore(self, baseline: Baseline) -> Restored:
        """Put everything back.

        Raises:
            IsolationError: The test left a transaction open, or changed the schema.
        """
        return restore(
            self.psycopg,
            baseline,
            lock_timeout=self.lock_timeout,
            application=self.application,
        )

    def drop_created(self, baseline: Baseline) -> list[str]:
        """Drop what was created since the baseline, and return it, if nothing else was changed."""
        return drop_created.drop(self.psycopg, baseline, lock_timeout=self.lock_timeout)

    def restore_alone(self, baseline: Baseline, kept: Collection[int], *, at_most: int) -> Restored:
        """Put everything back where nobody else may be connected, unless it would take too long.

        Args:
            baseline: What the database is to hold.
            kept: Process ids of the backends that may stay; all others are ended.
            at_most: Microseconds that it may take, by estimation.

        Raises:
            CloneIsFasterError: It would take longer.
            IsolationError: The test left a transaction open, or changed the schema.
            TimeoutError: A backend did not end.
        """
        return restore(
            self.psycopg, baseline, lock_timeout=self.lock_timeout, alone=kept, at_most=at_most
        )

    def is_lost(self) -> bool:
        """Tell whether the server has ended the connection, without asking it."""
        return "psycopg" in self.__dict__ and is_lost(self.psycopg)

    def close(self) -> None:
        """Close the connection, and with it everything that is kept."""
        if "psycopg" in self.__dict__:
            self.__dict__.pop("psycopg").close()
