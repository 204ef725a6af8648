"""Remembers which services a command needed, so that they start while its tests are collected.

pytest's cache holds it for each command of a project, where that cache is: a run without one, such
as the first in CI, starts servers when it knows its tests.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    import pytest

_KEY = "berth/services"
# Commands of a project; those go that were not used for longest.
_MOST = 50


def of(config: pytest.Config) -> frozenset[str]:
    """Return the names of the services that this command needed last time."""
    return frozenset(_read(config).get(command_of(config), ()))


def note(config: pytest.Config, names: Collection[str], *, may_be_expected: bool = True) -> None:
    """Remember what this command needs; written only where it is news.

    Args:
        config: pytest's configuration.
        names: The services' names.
        may_be_expected: Whether a start before the tests are collected is of any use; where it once
            was not, that stays so.
    """
    cache = _cache(config)
    known, command = _read(config), command_of(config)
    is_oldest = next(iter(known), None) == command
    before = known.pop(command, None)
    if names:
        known[command] = sorted(names) if may_be_expected and before != [] else []
    goes_next = len(known) >= _MOST and is_oldest
    if cache is not None and (known.get(command) != before or goes_next):
        cache.set(_KEY, dict([*known.items()][-_MOST:]))


def _read(config: pytest.Config) -> dict[str, list[str]]:
    cache = _cache(config)
    found = cache.get(_KEY, {}) if cache else {}
    if not isinstance(found, dict):
        return {}
    return {
        str(command): [*map(str, names)]
        for command, names in found.items()
        if isinstance(names, list)
    }


def _cache(config: pytest.Config) -> pytest.Cache | None:
    return getattr(config, "cache", None)  # missing with `-p no:cacheprovider`


def command_of(config: pytest.Config) -> str:
    """Return what stands for the command: it may have passwords in it."""
    given = config.invocation_params
    words = [*map(str, given.args), os.environ.get("PYTEST_ADDOPTS", ""), str(given.dir)]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]
