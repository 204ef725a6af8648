"""Tells which transactions are open in a database, other than berth's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.isolation.recorded_lines import without_texts
from pytest_berth.waiting import now, pause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.services.mysql.connections import Ask

# Seconds for which InnoDB tells what it has told last, whatever has happened since.
_TOLD_AGAIN_FOR = 0.11
_OPEN = """
SELECT p.id, TIMESTAMPDIFF(SECOND, t.trx_started, NOW()), t.trx_rows_modified, t.trx_rows_locked,
  t.trx_state = 'LOCK WAIT', COALESCE(t.trx_query, '')
FROM information_schema.innodb_trx t
JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID() ORDER BY t.trx_started
"""


class _Asked:
    """When this process has asked last."""

    at = 0.0


def lines(ask: Ask) -> Iterator[str]:
    """Yield a line for each open transaction but that of the connection that asks."""
    pause(max(0.0, _Asked.at + _TOLD_AGAIN_FOR - now()))
    found = ask(_OPEN)
    _Asked.at = now()
    for connection, age, written, locked, waits, query in found:
        state = "waits for a lock" if waits else f"{written} rows written, {locked} locked"
        runs = f": {without_texts(' '.join(query.split()))}" if query else ""
        yield f"connection {connection}: a transaction is open for {age} s, {state}{runs}"
