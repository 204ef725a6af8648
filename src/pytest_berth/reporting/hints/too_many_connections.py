"""A hint for tests that fail as a Postgres server has no connection left for them."""

from __future__ import annotations

import re

from pytest_berth.reporting.hints.event_loops import chain

_SIGNS = re.compile(
    r"too many clients already|remaining connection slots are reserved"
    r"|too many connections for (role|database)"
)
TITLE = "postgres connections"
HINT = """\
The Postgres server has no connection left.
  why: connections stay open beyond their tests, mostly in an engine or pool that is made for each
       test and never disposed of; all workers of the run share the server's max_connections, which
       is 300 where berth has started it
  do:  close what the test opens: engine.dispose(), pool.close(); or make one pool for the session
       SELECT application_name, state, query FROM pg_stat_activity tells whose they are
       or allow more: berth_pg_settings = max_connections=1000, or berth_pg_scope = worker"""


def hint(error: BaseException) -> str:
    """Return what to do where an error says that there are too many connections; else nothing."""
    return HINT if any(_SIGNS.search(str(each)) for each in chain(error)) else ""
