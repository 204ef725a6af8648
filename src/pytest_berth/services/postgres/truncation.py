"""The clean slate of tests that commit: the database is put back as it was before the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import psycopg

from pytest_berth.services.postgres import repair
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_berth.services.postgres.repair import Baseline
    from pytest_berth.services.postgres.repair.application import Application
    from pytest_berth.services.postgres.repair.session import Connection


@dataclass
class Truncation:
    """The repair of one database, on a connection of its own that stays open.

    Attributes:
        dsn: libpq URI of the database.
        lock_timeout: Seconds to wait for locks that a test has left.
        ours: Whether the run has created the database: only then it gets an event trigger.
        like: What another clone of the same template held, where there is one.
        application: What knows the application's connections in this process.
    """

    dsn: str = field(repr=False)
    lock_timeout: float
    ours: bool = False
    like: Baseline | None = field(default=None, repr=False)
    application: Application | None = field(default=None, repr=False)
    _baseline: Baseline | None = field(default=None, init=False, repr=False)

    @cached_property
    def _connection(self) -> Connection:
        return psycopg.connect(self.dsn, autocommit=True, application_name="pytest-berth")

    @property
    def baseline(self) -> Baseline | None:
        """What the database held, as far as that is known."""
        return self._baseline

    def begin(self) -> None:
        """Take the baseline, unless nothing has moved since the last one.

        Fixtures of a wider scope have written by now: what they wrote belongs to it.
        """
        known = self._baseline
        if not (self.confirm() if known else self._adopt()):
            self._baseline = repair.capture(
                self._connection, lock_timeout=self.lock_timeout, watch=self.ours, known=known
            )
            if known:
                repair.release(self._connection, known, [self._baseline])

    def confirm(self) -> bool:
        """Tell whether the database still holds the baseline."""
        if self._baseline:
            self._baseline = repair.confirm(
                self._connection, self._baseline, lock_timeout=self.lock_timeout
            )
        return self._baseline is not None

    def end(self) -> None:
        """Put everything back.

        Raises:
            IsolationError: The test left a transaction open, or changed the schema.
        """
        assert self._baseline is not None, "begin() comes first"
        try:
            restored = repair.restore(
                self._connection,
                self._baseline,
                lock_timeout=self.lock_timeout,
                application=self.application,
            )
        except repair.LeftOpen as error:
            self._baseline = error.restored.baseline if error.restored else None
            raise
        self._baseline = restored.baseline

    def end_others(self, kept: Collection[int] = ()) -> None:
        """End what is connected to the database beside berth.

        Args:
            kept: Process ids of backends that may stay.

        Raises:
            TimeoutError: A backend did not end.
        """
        wait_for(
            lambda: not repair.end_backends(self._connection, kept),
            repair.ENDING,
            message="the end of the test's connections",
        )

    def close(self) -> None:
        """Close the connection, and with it everything that is kept."""
        self._baseline = None
        if "_connection" in self.__dict__:
            self.__dict__.pop("_connection").close()

    def _adopt(self) -> bool:
        """Take over the baseline that the template had, if the database still holds it."""
        if self.ours:
            self._baseline = repair.adopt(
                self._connection, lock_timeout=self.lock_timeout, like=self.like
            )
        return self._baseline is not None
