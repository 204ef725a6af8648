"""Restores a baseline: looks, ends what was left open, puts back, notes the new position."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.debug_log import debug
from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.restore.baseline import Baseline, Restored, look
from pytest_berth.services.postgres.restore.capture import capture
from pytest_berth.services.postgres.restore.errors import (
    BaselineLost,
    CloneIsFasterError,
    NotRepairable,
)
from pytest_berth.services.postgres.restore.find_changes import confirm, reading
from pytest_berth.services.postgres.restore.lock_waits import BlockedError, waiting_on
from pytest_berth.services.postgres.restore.open_transactions import LeftOpen
from pytest_berth.services.postgres.restore.stored_baseline import load
from pytest_berth.services.postgres.restore.transactions import Connection, results
from pytest_berth.services.postgres.restore.write_back import (
    drop_created,
    end_transactions,
    in_one_message,
)
from pytest_berth.services.postgres.restore.write_back.rows import put_back
from pytest_berth.services.postgres.server import session_pooling
from pytest_berth.services.postgres.server.backend_crash import is_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pytest_berth.services.postgres.application_connections import Application
    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.open_transactions import OpenTransaction

# Bytes that a table may grow before it is vacuumed: some thousand narrow rows.
GROWTH = 32 * 8192


def restore(
    connection: Connection,
    baseline: Baseline,
    *,
    lock_timeout: float,
    application: Application | None = None,
    alone: Collection[int] | None = None,
    at_most: int | None = None,
) -> Restored:
    """Put everything back as it was when *baseline* was captured.

    Args:
        connection: The one that the baseline was captured on: it keeps the copies.
        baseline: What ``capture`` or the last ``restore`` returned.
        lock_timeout: Seconds to wait for each lock, and for transactions left open.
        application: What knows the connections of this process, where anything does.
        alone: The only other backends that may stay, by their process ids; left out, all may.
        at_most: Microseconds that the restore may take, by estimation.

    Raises:
        CloneIsFasterError: It would take longer; nothing was put back.
        LeftOpen: Transactions outlived the test; its ``restored`` tells whether the database
            is clean again.
        SchemaChanged: Nothing was put back; the database has to be replaced.
        NotRepairable: The same, for another reason.
        IsolationError: The role may not do what is needed.
        TimeoutError: A backend did not end.
    """
    try:
        done = in_one_message.attempt(connection, baseline, alone, at_most)
        if done:
            return _restored(connection, done.baseline, done.tables, done.moved, done.sizes)
        signs = look(connection, baseline, alone, at_end=True)
        if not signs.changed:
            return Restored(baseline)
        prepared: tuple[str, ...] = ()
        left: list[OpenTransaction] = []
        if not signs.writers:
            baseline = replace(baseline, used=frozenset())
        else:
            baseline = end_transactions.with_wider(connection, baseline, application)
            prepared = end_transactions.roll_back_prepared(connection, baseline)
            left = end_transactions.end_writers(connection, baseline, lock_timeout, application)
        return _put_back(connection, baseline, lock_timeout, prepared, left, application, at_most)
    except psycopg.OperationalError as error:
        if connection.closed or connection.broken:
            raise BaselineLost(error) from error
        raise


def _put_back(
    connection: Connection,
    baseline: Baseline,
    lock_timeout: float,
    prepared: tuple[str, ...],
    left: list[OpenTransaction],
    application: Application | None,
    at_most: int | None,
) -> Restored:
    try:
        try:
            restored = _restore_once(connection, baseline, lock_timeout, at_most)
        except BlockedError as blocked:
            left += end_transactions.end_blockers(connection, baseline, blocked, application)
            restored = _restore_once(connection, baseline, lock_timeout, at_most)
    except BlockedError as blocked:
        raise LeftOpen([*left, *end_transactions.blockers(connection, blocked)], None) from blocked
    except NotRepairable as error:
        if left:
            raise LeftOpen(left, None) from error
        raise
    restored = replace(restored, prepared=prepared)
    if left:
        raise LeftOpen(left, restored)
    return restored


def _restore_once(
    connection: Connection, baseline: Baseline, lock_timeout: float, at_most: int | None
) -> Restored:
    relations, open_before = baseline.relations, baseline.open_before
    everything = (*relations.tables, *relations.views, *relations.sequences)
    with reading(connection, baseline, lock_timeout=lock_timeout) as found:
        difference = found.difference
        if at_most is not None and difference.cost > at_most:
            raise CloneIsFasterError
        if difference.is_grown_only:
            baseline = in_one_message.prepare(connection, baseline)
        with waiting_on(everything, open_transactions.BLOCK_EXCLUSIVE):
            finished = put_back(connection, baseline, difference)
    advanced = replace(
        baseline,
        storage=finished.storage,
        untracked_sequences=tuple(s for s in relations.sequences if s.unlogged or open_before),
        sentinel=found.sentinel,
        entries=found.entries,
        position=baseline.position.advanced(found.snapshot, finished.xid),
    )
    restored = _restored(
        connection, advanced, difference.tables, finished.moved, finished.sizes, difference.views
    )
    objects = (*difference.added_objects, *difference.altered_objects)
    return replace(restored, large_objects=objects)


def _restored(
    connection: Connection,
    baseline: Baseline,
    tables: Sequence[Relation],
    moved: Sequence[Relation],
    sizes: Mapping[int, int],
    views: Sequence[Relation] = (),
) -> Restored:
    """Return what was put back; vacuum what has grown."""
    restored = Restored(
        _vacuum(connection, baseline, tables, sizes),
        tuple(map(str, tables)),
        tuple(map(str, views)),
        tuple(map(str, moved)),
    )
    debug(
        "postgres: put back: tables %s, views %s, sequences %s",
        *(
            ", ".join(each) or "none"
            for each in (restored.tables, restored.views, restored.sequences)
        ),
    )
    return restored


def _vacuum(
    connection: Connection,
    baseline: Baseline,
    touched: Sequence[Relation],
    sizes: Mapping[int, int],
) -> Baseline:
    """Vacuum those of the tables that have grown: after thousands of tests dead rows slow all down.

    The size afterwards counts from now on: an older transaction may need the dead rows, and
    then vacuuming again at once would not help either.
    """
    grown = [t for t in touched if sizes[t.oid] - baseline.sizes.get(t.oid, 0) > GROWTH]
    if not grown:
        return baseline
    names = sql.SQL(", ").join(table.identifier for table in grown)
    statement = sql.SQL("VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON) {}").format(names)
    try:
        connection.execute(statement, prepare=False)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        debug("postgres: vacuumed another time, as a test's table is locked: %s", error)
        return baseline
    oids = ",".join(str(table.oid) for table in grown)
    (left,) = results(connection, [baseline.prepared.run("sizes", f"'{{{oids}}}'")])
    return replace(baseline, sizes={**baseline.sizes, **dict(left)})


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
    _psycopg: Connection | None = field(default=None, init=False, repr=False)

    @property
    def psycopg(self) -> Connection:
        """The connection itself, in autocommit mode; a new one proves anew where it leads."""
        if self._psycopg is None:
            self._psycopg = self.connect()
            if self.ours:
                # Where a crash loses what was put back, the database is made anew: no need to wait
                # for the disk.
                self._psycopg.execute("SET synchronous_commit = off")
        return self._psycopg

    @property
    def backend(self) -> int:
        """Process id of its backend; 0 where it is not open."""
        return self._psycopg.info.backend_pid if self._psycopg and not self.is_lost() else 0

    @cached_property
    def is_pooled(self) -> bool:
        """Whether a pooler is between: then drivers do not know their sessions' backends."""
        return session_pooling.is_pooled(self.psycopg)

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
        return self._psycopg is not None and is_lost(self._psycopg)

    def close(self) -> None:
        """Close the connection, and with it everything that is kept."""
        if self._psycopg:
            self._psycopg.close()
        self._psycopg = None
