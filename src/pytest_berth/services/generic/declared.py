"""The services that the settings of a run declare, as descriptors like any others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pytest_berth import manifest
from pytest_berth.config import loading
from pytest_berth.config.descriptor import Service
from pytest_berth.config.options import SERVICES, Option, words
from pytest_berth.errors import SettingsError, together
from pytest_berth.services.generic import lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_berth.api import Backend
    from pytest_berth.services.generic.declaration import Declaration


def declare(
    config: pytest.Config, parser: pytest.Parser, known: Sequence[Service]
) -> list[Service]:
    """Return the descriptors of what is declared, whose options the parser knows from now on.

    Args:
        config: pytest's configuration.
        parser: pytest's parser.
        known: The services that there are without.

    Raises:
        SettingsError: Lines cannot be used; it tells all of them.
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
    wrong = together(problems)
    if wrong:
        raise wrong
    for service in found:
        manifest.add_options(parser, (option.row for option in service.options))
    return found


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
