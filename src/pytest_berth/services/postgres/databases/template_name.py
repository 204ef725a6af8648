"""The name of a template that other runs may use, too: it tells what the template holds.

It ends in a fingerprint of schema, seeds, account and version of this package. Runs that share a
server look for the name on it (`external_templates`), a later run in a snapshot or on a reused
server (`stored_templates`). Where there is no fingerprint, there is no name, and each run builds
its own.
"""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING

from pytest_berth.schema import fingerprint
from pytest_berth.services.postgres.options import FINGERPRINT

if TYPE_CHECKING:
    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.services.postgres.schema import Step

_PREFIX = "berth_template_"
_DIGITS = 16
# As Python and PostgreSQL read it.
PATTERN = f"^{_PREFIX}[0-9a-f]{{{_DIGITS}}}$"


def of(berth: PluginState, server: Server, steps: tuple[Step, ...]) -> str | None:
    """Return the name of the template that steps make; None where that cannot be known."""
    settings = berth.settings
    found = fingerprint.of(steps, settings[FINGERPRINT], settings.root)
    if found is None:
        return None
    # Roles cannot drop each other's databases, locks are those of the connected database, and
    # what a template tells of itself depends on this package.
    account, version = server.credentials, metadata.version("pytest-berth")
    parts = [found, account.user, account.database, version]
    return f"{_PREFIX}{fingerprint.digest(parts)[:_DIGITS]}"


def fingerprint_in(name: str) -> str:
    """Return the fingerprint that such a name ends in; empty where it is another name."""
    return name.removeprefix(_PREFIX) if re.fullmatch(PATTERN, name) else ""
