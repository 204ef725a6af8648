"""Sets sequences back to where they stood before a rolled-back test, as PostgreSQL does not.

Before each test the server tells its position: which transactions have ended. Where none has since
the last test, and none was open then, no sequence has moved, however many there are: one that was
set back logs its next value, and needs a transaction id for it. Those that may move without are
looked at one by one. After each test all are looked at; the ones that tests have moved before are
set back in the same message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Of transactions that began after the last one that has ended, a snapshot does not tell: of these
# here is their number.
_POSITION = (
    b"pg_catalog.pg_current_snapshot(), ' ', "
    b"pg_catalog.age(pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::xid)"
)
_LAST = b", ' ', pg_catalog.pg_sequence_last_value(%b)"
_LOOK = b"SELECT pg_catalog.concat(" + _POSITION + b"%b)"
_LOOK_AT_ALL = (
    b"SELECT pg_catalog.concat(" + _POSITION + b"%b, '|', pg_catalog.array_agg(seqrelid), '|',"
    b" pg_catalog.array_agg(pg_catalog.pg_sequence_last_value(seqrelid)))"
    b" FROM pg_catalog.pg_sequence"
)
_NAMES = """
SELECT s.seqrelid::text, n.nspname, c.relname, c.relpersistence = 'u'
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relpersistence <> 't'
"""
_STATE = "SELECT {}::text, last_value || ', ' || is_called, log_cnt > 0 OR {} FROM {}"
_SET = b"pg_catalog.setval(%b::regclass, %b)"
# Of those that are set back, or looked at, whether they have moved or not: one takes microseconds.
_MOST = 20


class Connection(Protocol):
    """The connection of rolled-back tests, in a transaction of a test or between two."""

    def fetch(self, query: str | sql.Composed) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""

    def send(self, statements: bytes) -> object:
        """Send statements between two tests, and commit them."""


@dataclass
class Sequences:
    """Where the sequences of a database stand, for tests that are rolled back one after the other.

    Attributes:
        connection: The connection of rolled-back tests.
        ours: Whether they are set back; otherwise reports of failed tests tell what has moved.
    """

    connection: Connection
    ours: bool
    # The ids of all sequences and their last values, as PostgreSQL writes arrays.
    _values: tuple[bytes, bytes] | None = field(default=None, init=False)
    # The arguments of setval() that set each back, by its id.
    _states: dict[bytes, bytes] = field(default_factory=dict, init=False)
    # Those that may move without a transaction id; None where that is not known, or they are many.
    _untracked: tuple[bytes, ...] | None = field(default=None, init=False)
    # Those that tests have moved last.
    _moving: dict[bytes, None] = field(default_factory=dict, init=False)
    # What the server tells as long as nothing has moved; None where it has to be asked for all.
    _undisturbed: bytes | None = field(default=None, init=False)

    @property
    def before(self) -> Mapping[str, str]:
        """The last values by the sequences' ids; ``-`` of those that were not used yet."""
        stood = _by_id(self._values) if self._values else {}
        texts = {oid.decode(): last.decode() for oid, last in stood.items()}
        return {oid: "-" if last == "NULL" else last for oid, last in texts.items()}

    @property
    def look(self) -> bytes:
        """The statement that a test begins with."""
        if self._undisturbed is None:
            return self.look_at_all
        return _LOOK % self._last_values

    @property
    def look_at_all(self) -> bytes:
        """The statement that a test ends with, outside of its transaction."""
        return _LOOK_AT_ALL % self._last_values

    @property
    def setting_back(self) -> bytes:
        """The statement that sets those back which tests have moved before; empty without any."""
        return _set_back(self._states, self._moving)

    def remember(self, answer: bytes) -> None:
        """Read the states anew where they may have changed.

        Args:
            answer: That to `look`, in the transaction of the test.
        """
        if answer == self._undisturbed:
            return
        if b"|" not in answer:
            ((text,),) = self.connection.fetch(self.look_at_all.decode())
            answer = text.encode()
        _, values = _parts(answer)
        if values != self._values:
            if self.ours:
                self._read()
            self._values = values

    def put_back(self, answer: bytes) -> None:
        """Set those back that a test has used.

        Args:
            answer: That to `look_at_all`, as the test has ended.
        """
        position, values = _parts(answer)
        self._undisturbed = None
        if not self.ours:
            self._values = values
        elif values == self._values:
            if self._untracked is not None and _is_at_rest(position):
                self._undisturbed = position
        else:
            self._set_back_moved(_by_id(values))

    def _set_back_moved(self, now: Mapping[bytes, bytes]) -> None:
        stood = _by_id(self._values) if self._values else {}
        moved = [oid for oid in now if now[oid] != stood.get(oid) and oid in self._states]
        statement = _set_back(self._states, moved)
        if statement:
            self.connection.send(statement)
        for oid in moved:
            self._moving.pop(oid, None)
            self._moving[oid] = None
        for oid in list(self._moving)[:-_MOST]:
            del self._moving[oid]

    def _read(self) -> None:
        """Read how each sequence can be set back, and which of them may move unseen."""
        self._states, self._untracked, self._moving = {}, (), {}
        names = self.connection.fetch(_NAMES)
        queries = [
            sql.SQL(_STATE).format(oid, is_unlogged, sql.Identifier(schema, name))
            for oid, schema, name, is_unlogged in names
        ]
        if not queries:
            return
        found = self.connection.fetch(sql.SQL(" UNION ALL ").join(queries))
        self._states = {oid.encode(): arguments.encode() for oid, arguments, _ in found}
        untracked = tuple(oid.encode() for oid, _, is_untracked in found if is_untracked)
        self._untracked = untracked if len(untracked) <= _MOST else None

    @property
    def _last_values(self) -> bytes:
        return b"".join(_LAST % oid for oid in self._untracked or ())


def _parts(answer: bytes) -> tuple[bytes, tuple[bytes, bytes]]:
    """Return the position that an answer tells, and the ids and values of all sequences."""
    position, oids, values = answer.split(b"|")
    return position, (oids, values)


def _by_id(values: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    oids, lasts = (each.strip(b"{}").split(b",") if each else [] for each in values)
    return dict(zip(oids, lasts, strict=True))


def _is_at_rest(position: bytes) -> bool:
    """Tell whether no transaction with an id is open: it could move sequences unseen."""
    snapshot, begun, *_ = position.split(b" ")
    oldest, newest, _ = snapshot.split(b":")
    return oldest == newest and begun == b"0"


def _set_back(states: Mapping[bytes, bytes], oids: Iterable[bytes]) -> bytes:
    calls = [_SET % (oid, states[oid]) for oid in oids]
    return b"SELECT " + b", ".join(calls) if calls else b""
