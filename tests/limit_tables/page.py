"""The page of the documentation that the tables make."""

from __future__ import annotations

from pathlib import Path

from limit_tables import kafka, postgres, redis
from limit_tables.table import markdown

PATH = Path(__file__).parents[2] / "docs/reference/limits.md"
TABLES = (*postgres.TABLES, postgres.COMMIT, redis.TABLE, kafka.TABLE)
HEAD = """\
# What is kept apart, and what is not

Each row is tried by a test of berth's own suite, on three servers, and the page is made from
what that test expects: `PYTHONPATH=tests python -m limit_tables` writes it.

The first outcome in a cell is that on a server that berth has started, with one process that
runs the tests. With several workers (`-n 2`), and on an external server, where the account is a
superuser's, the same holds unless the cell tells otherwise.

put back
: The next test finds what there was before the change.

put back, named
: So it does, and a line of the run names the test and what it has changed.

stays
: Later tests find it, and nothing is said. Let the test remove it.

stays, named
: Later tests find it, and a line of the run names the test.

put back, the test fails; stays, the test fails
: The test has an error that says why.

refused
: The server does not do it in a transaction.

What no table shows is told with [isolation](../explanation/isolation.md), [Redis](redis.md) and
[Kafka](kafka.md).
"""


def text() -> str:
    """Return the page."""
    return "\n".join([HEAD, *map(markdown, TABLES)])
