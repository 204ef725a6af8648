"""The services that the settings of a run declare, as descriptors like any others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pytest_berth.config import loading
from pytest_berth.config.descriptor import Service
from pytest_berth.config.options import SERVICES, Option, words
from pytest_berth.errors import SettingsError
from pytest_berth.services.generic import lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_berth.api import Backend
    from pytest_berth.services.generic.declaration import Declaration


def read(
    config: pytest.Config, known: Sequence[Service]
) -> tuple[list[Service], list[SettingsError]]:
    """Return the descriptors of what is declared, and what is wrong with it.

    Args:
        config: pytest's configuration.
        known: The services that are there without.
    """
    found: list[Service] = []
    problems: list[SettingsError] = []
    given, origin = loading.read_one(config, SERVICES)
    for line in given:
        try:
            declared = lines.parse(line, config.rootpath, origin)
            _require_new(declared, [*known, *found])
            found.append(descriptor(declared))
        except SettingsError as problem:
            problems.append(problem)
    return found, problems


def descriptor(declared: Declaration) -> Service:
    """Return the descriptor of a declared service."""
    name = declared.name
    allow_reset: Option[tuple[str, ...]] = Option(
        f"berth_{name}_allow_reset",
        words,
        (),
        f"host:port of a {name} given by URL that tests may empty",
        type="linelist",
    )
    return Service(
        name,
        partial(_backend, declared, allow_reset),
        label=name,
        schemes=(declared.scheme(),),
        scope=declared.scope,
        options=[allow_reset],
        address_help=f"URL of the first port of {name}, as {declared.origin} declares it.",
    )


def _backend(
    declared: Declaration, allow_reset: Option[tuple[str, ...]], service: Service
) -> Backend:
    from pytest_berth.services.generic.backend import Generic

    return Generic(service, declared, allow_reset)


def _require_new(declared: Declaration, known: Sequence[Service]) -> None:
    for other in known:
        if declared.name in {other.name, other.prefix}:
            raise SettingsError(
                f"berth_services names a service {declared.name!r}, which is there already.",
                why=f"{declared.origin}; {other.label} has the name {other.name!r}, and its"
                f" settings begin with berth_{other.prefix}_",
                remedy="give it another name",
            )
