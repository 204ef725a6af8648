"""How fixtures get at the worker's database."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_berth.run.plugin_state import BERTH
from pytest_berth.services.postgres.isolation.choice import Isolation
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.services.postgres.namespace import Workspace

WORKSPACE = pytest.StashKey["Workspace"]()
_AT_RUN_TIME = Isolation("truncation", "fixtures are asked for at run time")
# What ends with a test that may be the first to ask for the database, in the middle of its run.
_LATE = pytest.StashKey[ExitStack]()


def workspace_for(config: pytest.Config, schema: object, seed: object) -> Workspace:
    """Return the worker's database, created from the template."""
    berth = config.stash[BERTH]
    # First, as it says which extra is missing before anything of that extra is imported.
    berth.server(POSTGRES)
    from pytest_berth.services.postgres.databases import template
    from pytest_berth.services.postgres.databases.worker_database import open_workspace

    opened = open_workspace(berth, template.parse(berth, schema, seed))
    config.stash[WORKSPACE] = opened
    late = config.stash.get(_LATE, None)
    if late is not None and opened.is_ours:
        late.enter_context(opened.slate(_AT_RUN_TIME, ()))
    return opened


@contextmanager
def late_slate(config: pytest.Config) -> Iterator[None]:
    """Clean up behind a test that may get at the database by ``request.getfixturevalue``.

    As long as no test has needed Postgres there is nothing to guard, and nothing is started.
    """
    before = config.stash.get(WORKSPACE, None)
    if before and before.is_ours:
        from pytest_berth.services.postgres.databases.worker_database import slate

        with slate(before, _AT_RUN_TIME, ()):
            yield
        return
    with ExitStack() as config.stash[_LATE]:
        yield
    del config.stash[_LATE]
