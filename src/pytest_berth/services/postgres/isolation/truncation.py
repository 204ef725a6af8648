"""Puts back what tests committed, or replaces the database: the isolation ``truncation``."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_berth.isolation.fixture_layers import Layers
from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.advice import PRIVATE, crash_note, running_test
from pytest_berth.services.postgres.restore import Baseline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from pytest_berth.isolation.fixture_layers import Place
    from pytest_berth.run.timeline import Timeline
    from pytest_berth.services.postgres.application_connections import Application
    from pytest_berth.services.postgres.restore.restore import RestoreConnection


class Truncation:
    """A worker's database, for tests that commit.

    Args:
        connection: The connection that restores the database.
        application: The application's connections in this process.
        start_over: Makes the database anew where it cannot be put back, and is told why; tells
            whether the server has crashed.
        note: Tells the user what was done beside putting rows back.
        timeline: Notes which tests have changed the schema.

    Attributes:
        layers: What fixtures and tests have written, by scope.
    """

    def __init__(
        self,
        connection: RestoreConnection,
        application: Application,
        start_over: Callable[[str], bool],
        note: Callable[[str], None],
        timeline: Timeline,
    ) -> None:
        self.layers = DatabaseLayers(connection)
        self._connection = connection
        self._application = application
        self._start_over = start_over
        self._note = note
        self._timeline = timeline

    @contextmanager
    def test(self) -> Iterator[None]:
        """Let a test write, and put back what it wrote.

        Raises:
            IsolationError: It left a transaction open, or something else that cannot be put back.
        """
        self.layers.begin()
        try:
            with self._application.test():
                yield
        finally:
            self._put_back(self.layers.end, running_test())

    def entering(self, place: Place, fixture: object) -> AbstractContextManager[None]:
        """Let a fixture of a wider scope write."""
        return self.layers.entering(place, fixture)

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        self._put_back(lambda: self.layers.leave(fixture), f"the fixture {name}")

    def pay(self) -> None:
        """Put back what could not be put back when a fixture or a test had ended."""
        self._put_back(self.layers.pay, "a fixture that has ended")

    def sweep(self) -> None:
        """Put back what has come after the last test's end."""
        self._put_back(self.layers.sweep, "what outlived a test")

    @property
    def held(self) -> tuple[RestoreConnection, Sequence[tuple[str, Baseline]]]:
        """Berth's connection, and what was there before each layer; the test's comes last."""
        return self._connection, self.layers.before

    def is_cut_off(self) -> bool:
        """Tell whether the server has ended the connection."""
        return self._connection.is_lost()

    def close(self) -> None:
        """Close the connection, and with it everything that is kept."""
        self.layers.close()

    def _put_back(self, work: Callable[[], None], who: str) -> None:
        """Put data back; where that cannot be, replace the database."""
        try:
            work()
            self._tell_dropped(who)
        except restore.SchemaChanged as error:
            if not self._connection.ours:
                raise
            self._start_over(f"{who} changed the schema: {'; '.join(error.differences[:3])}")
            self._note(_schema_changed(who, error))
        except (restore.LeftOpen, restore.NotRepairable) as error:
            is_clean = isinstance(error, restore.LeftOpen) and error.restored
            has_crashed = not is_clean and self._start_over(f"after {who}: {error.what}")
            if not (has_crashed and isinstance(error, restore.BaselineLost)):
                raise
            self._note(crash_note(f"while {who} ran"))

    def _tell_dropped(self, who: str) -> None:
        if dropped := self.layers.take_dropped():
            about = f"{who}: {'; '.join(dropped[:3])}"
            self._timeline.add("schema", "postgres", self._timeline.now(), detail=about)
            self._note(
                f"postgres: {who} changed the schema ({'; '.join(dropped[:3])}), so that was"
                f" dropped again. With {PRIVATE} the test has a database of its own"
            )


def _schema_changed(who: str, error: restore.SchemaChanged) -> str:
    return (
        f"postgres: {who} changed the schema ({'; '.join(error.differences[:3])}), so the"
        " database was made anew from its template; what fixtures of a wider scope had written"
        f" is gone. With {PRIVATE} the test has a database of its own"
    )


@dataclass
class DatabaseLayers(Layers[Baseline]):
    """The layers of a worker's database.

    Attributes:
        connection: The connection that restores it.
        wrote: Whether anything had been written when it was put back last.
        dirty: The tables and views that were put back since somebody has asked.
    """

    connection: RestoreConnection
    wrote: bool = field(default=True, init=False)
    dirty: list[str] = field(default_factory=list, init=False)
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
                self._remember(confirmed)
            else:
                self._return_to(known)
            self._swept = True

    def take_dropped(self) -> list[str]:
        """Return, once, what tests or fixtures had created in the schema, and was dropped."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def close(self) -> None:
        """Close the connection, and with it everything that is kept."""
        self._current = None
        self._layers.clear()
        self._held.clear()
        self._owed.clear()
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
            return self._remember(confirmed)
        self._current = None
        loaded = None if self._live else self.connection.load()
        return self._remember(loaded or self.connection.capture(known))

    def _return_to(self, before: Baseline) -> None:
        known, self.wrote = self._current, True
        if known and not self._is_same(known, before):
            before = self._without_schema_change(before, known)
        try:
            restored = self._restore(before)
        except restore.LeftOpen as error:
            self._current = None
            if error.restored:
                self._owed.clear()
                self._remember(error.restored.baseline)
            raise
        self.wrote = restored.baseline is not before
        self.dirty += [*restored.tables, *restored.views]
        self._remember(restored.baseline)

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

    def _remember(self, found: Baseline) -> Baseline:
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
        used = self.baselines
        used += [self._current] if self._current else []
        needed = {each.prepared.prefix for each in used}
        for prefix in self._live.keys() - needed:
            restore.release(self.connection.psycopg, self._live.pop(prefix), self._live.values())
