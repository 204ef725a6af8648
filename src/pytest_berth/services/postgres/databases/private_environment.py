"""``berth_export`` for a test with a private database: its environment tells of that one."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_berth.config import exports
from pytest_berth.services.postgres import urls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import Berth


@contextmanager
def exported(berth: Berth, server: Server, database: str, name: str) -> Iterator[None]:
    """Let the exported variables tell of a database, and take that back.

    Args:
        berth: The run.
        server: Where the database is.
        database: Its name on the server.
        name: What the settings call it, if they do.
    """
    before = dict(os.environ)
    variables = exports.render(berth.exports, urls.values(server, database, name))
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.update({name: before[name] for name in variables.keys() & before.keys()})
        for name in variables.keys() - before.keys():
            os.environ.pop(name, None)
