"""A hint for tests that fail as an async connection was used in another event loop than its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_SIGNS = re.compile(
    r"attached to a different loop|bound to a different event loop|Event loop is closed"
    r"|another operation is in progress"
)
_POOLED = ("sqlalchemy.", "asyncpg.", "psycopg_pool.", "redis.")
TITLE = "event loops"
HINT = """\
A connection was used in another event loop than the one that it was opened in.
  why: a pool of the application keeps connections, and the runner of async tests gives each test a
       loop of its own
  do:  create_async_engine(..., poolclass=NullPool) where tests run
       or one loop for all tests, with pytest-asyncio: asyncio_default_test_loop_scope = session
       and asyncio_default_fixture_loop_scope = session; with anyio: an anyio_backend fixture of
       session scope
       or await engine.dispose() at the end of each test"""


def hint(error: BaseException) -> str:
    """Return what to set where an error comes from a pool in several event loops; else nothing."""
    for each in chain(error):
        if _SIGNS.search(str(each)) and any(map(_is_pooled, _modules(each.__traceback__))):
            return HINT
    return ""


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _modules(traceback: TracebackType | None) -> Iterator[str]:
    while traceback:
        yield f"{traceback.tb_frame.f_globals.get('__name__', '')}."
        traceback = traceback.tb_next


def _is_pooled(module: str) -> bool:
    return module.startswith(_POOLED)
