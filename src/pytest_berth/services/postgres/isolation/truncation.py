"""The clean slate of tests that commit: the database is put back as it was before them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_berth.isolation.layers import Layers
from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.restore import Baseline

if TYPE_CHECKING:
    from pytest_berth.services.postgres.restore.connection import RestoreConnection


@dataclass
class DatabaseLayers(Layers[Baseline]):
    """The layers of a worker's database.

    Attributes:
        connection: The connection that restores it.
        wrote: Whether anything had been written when it was put back last.
    """

    connection: RestoreConnection
    wrote: bool = field(default=True, init=False)
    _current: Baseline | None = field(default=None, init=False, repr=False)
    _put_back: bool = field(default=False, init=False, repr=False)
    _swept: bool = field(default=False, init=False, repr=False)
    _live: dict[str, Baseline] = field(default_factory=dict, init=False, repr=False)
    _dropped: list[str] = field(default_factory=list, init=False, repr=False)

    def begin(self) -> None:
        """Begin a test's layer; nothing is looked at where `sweep` has just done so."""
        swept = self._current if self._swept else None
        self.expect_changes()
        if swept:
            self._lay(swept)
        else:
            super().begin()

    def end(self) -> None:
        """Put everything back as it was before the test."""
        super().end()
        self._put_back = True

    def expect_changes(self) -> None:
        """Take what is written from now on for somebody's who may do so, until a test has ended."""
        self._put_back = self._swept = False

    def sweep(self) -> None:
        """Put back what has come after the last test's end, from threads and processes.

        Called before any fixture of the next test.

        Raises:
            IsolationError: A transaction is open, or the schema was changed.
        """
        self._swept = False
        if self._put_back and self._current:
            known = self._current
            confirmed = self.connection.confirm(known)
            if confirmed:
                self._renew(confirmed)
            else:
                self._return_to(known)
            self._swept = True

    def take_dropped(self) -> list[str]:
        """Return, once, what tests or fixtures had created in the schema, and was dropped."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def is_cut_off(self) -> bool:
        """Tell whether the server has ended the connection."""
        return self.connection.is_lost()

    def close(self) -> None:
        """Close the connection, and with it everything that is kept."""
        self._current = None
        self._layers.clear()
        self._held.clear()
        self._live.clear()
        self.connection.close()

    @property
    def _ends_with_session(self) -> bool:
        return self.connection.ours

    def _settle(self) -> Baseline:
        """Return what the database holds now: the last baseline, unless something has moved."""
        known = self._current
        confirmed = known and self.connection.confirm(known)
        if confirmed:
            return self._renew(confirmed)
        self._current = None
        loaded = None if self._live else self.connection.load()
        return self._renew(loaded or self.connection.capture(known))

    def _return_to(self, before: Baseline) -> None:
        known, self.wrote = self._current, True
        if known and not self._is_same(known, before):
            before = self._without_schema_change(before, known)
        try:
            restored = self._restore(before)
        except restore.LeftOpen as error:
            self._current = None
            if error.restored:
                self._renew(error.restored.baseline)
            raise
        self.wrote = restored.baseline is not before
        self._renew(restored.baseline)

    def _restore(self, before: Baseline) -> restore.Restored:
        """Put everything back; of a schema to which something was added, without replacing it."""
        try:
            return self.connection.restore(before)
        except restore.SchemaChanged:
            dropped = self.connection.drop_created(before) if self.connection.ours else []
            if not dropped:
                raise
            self._dropped += dropped
            return self.connection.restore(before)

    def _without_schema_change(self, before: Baseline, known: Baseline) -> Baseline:
        """Look for changes that the newer baseline took for granted, and so does not note."""
        found = restore.named(before.sentinel, known.sentinel)
        if before.fingerprint.table != known.fingerprint.table:
            found += restore.differences(self.connection.psycopg, before.fingerprint)
        if found:
            raise restore.SchemaChanged(found)
        return replace(before, sentinel=known.sentinel)

    def _is_same(self, one: Baseline, other: Baseline) -> bool:
        return one.prepared.prefix == other.prepared.prefix

    def _rebased(self, before: Baseline, earlier: Baseline, later: Baseline) -> Baseline:
        timeout = self.connection.lock_timeout
        found = restore.rebase(
            self.connection.psycopg, before, earlier, later, lock_timeout=timeout
        )
        self._live[found.prepared.prefix] = found
        return found

    def _renew(self, found: Baseline) -> Baseline:
        """Remember how the database stands, also for the layers that lie on the same baseline."""
        self._current = found
        for layer in self._layers:
            if self._is_same(layer.before, found):
                layer.before = found
        self._live[found.prepared.prefix] = found
        self._release()
        return found

    def _release(self) -> None:
        """Drop the copies that nobody needs any more."""
        used = [*self._held, *(layer.before for layer in self._layers)]
        used += [self._current] if self._current else []
        needed = {each.prepared.prefix for each in used}
        for prefix in self._live.keys() - needed:
            restore.release(self.connection.psycopg, self._live.pop(prefix), self._live.values())
