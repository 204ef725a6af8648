"""Compares points in the server's history: was anything written since?"""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg import sql

from pytest_berth.services.postgres.restore.transactions import Connection, row

XID_MODULUS = 2**32
# A row version was written after the position that is given as arguments. Measured from the
# snapshot's xmin: a transaction running then may commit later. ``age`` compares across the
# wraparound of 32-bit ids.
NEWER = "(pg_catalog.age(xmin) <= pg_catalog.age($1) AND NOT xmin = ANY ($2))"
# A backend carries out a statement that may write, by its text: before it does so it has no
# transaction id, and it goes on where its client has gone. A role sees no texts of others.
MAY_WRITE = (
    "state = 'active' AND query ~* '(^|[^a-z_])"
    "(insert|update|delete|merge|copy|call|do|execute|truncate|setval|nextval)([^a-z_]|$)'"
)


@dataclass(frozen=True)
class Snapshot:
    """What ``pg_current_snapshot()`` says: the transactions that were complete at an instant."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read the form ``xmin:xmax:xid,xid``."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(map(int, filter(None, running.split(",")))))

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.running)))}"

    @classmethod
    def now(cls, connection: Connection) -> Snapshot:
        """Return the snapshot of the current statement or repeatable-read transaction."""
        return cls.parse(row(connection, "SELECT pg_catalog.pg_current_snapshot()::text")[0])


@dataclass(frozen=True)
class LogPosition:
    """An instant at which the database held its baseline.

    The snapshot is taken before the baseline is read or put back, never after: what others
    commit meanwhile then counts as newer. *own* are the ids of the restores' transactions since.
    """

    snapshot: Snapshot
    own: frozenset[int] = field(default_factory=frozenset)

    def moved(self, now: Snapshot) -> bool:
        """Tell whether a transaction that is not our own ended since the position."""
        known = {xid for xid in self.own | now.running if self.snapshot.xmax <= xid < now.xmax}
        ended = now.xmax - self.snapshot.xmax - len(known)
        return ended > 0 or not self.snapshot.running <= now.running

    def advanced(self, snapshot: Snapshot, own: int | None) -> LogPosition:
        """Return the position after a restore that began at *snapshot*."""
        written = self.own | ({own} if own else frozenset())
        return LogPosition(snapshot, frozenset(xid for xid in written if xid >= snapshot.xmin))

    @property
    def arguments(self) -> tuple[str, str]:
        """The arguments of ``NEWER``, as SQL."""
        own = ",".join(str(xid % XID_MODULUS) for xid in self.own)
        return f"'{self.snapshot.xmin % XID_MODULUS}'", f"'{{{own}}}'"

    @property
    def since(self) -> tuple[str, str]:
        """The first id later than the position, and the first that was running then, as SQL."""
        snapshot = self.snapshot
        return f"'{snapshot.xmax % XID_MODULUS}'", f"'{snapshot.xmin % XID_MODULUS}'"

    def is_newer(self) -> sql.SQL:
        """Return the condition that a row version was written after the position."""
        first, own = self.arguments
        return sql.SQL(NEWER.replace("$1", f"{first}::xid").replace("$2", f"{own}::xid[]"))
