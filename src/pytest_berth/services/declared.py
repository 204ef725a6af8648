"""The services that the settings of a run declare, as descriptors like any others."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth import manifest
from pytest_berth.config import loading
from pytest_berth.config.descriptor import Service
from pytest_berth.config.options import COMPOSE, COMPOSE_PROFILES, SERVICES, Option, words
from pytest_berth.errors import SettingsError, nearest, together
from pytest_berth.services.generic import lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from pytest_berth.api import Backend
    from pytest_berth.config.loading import Preset
    from pytest_berth.services.generic.declaration import Declaration


class _Composed(NamedTuple):
    declared: Sequence[Declaration] = ()
    presets: Mapping[str, Preset] = {}
    told: str = ""


class Declared(NamedTuple):
    """What the settings of a run declare.

    Attributes:
        services: The descriptors, whose options the parser knows.
        presets: What settings of berth's own services are, where nothing sets them.
        told: What is made of Compose files, and what of them is not honoured: for the header.
    """

    services: Sequence[Service] = ()
    presets: Mapping[str, Preset] = {}
    told: str = ""


def declare(config: pytest.Config, parser: pytest.Parser, known: Sequence[Service]) -> Declared:
    """Return what the settings declare.

    Args:
        config: pytest's configuration.
        parser: pytest's parser.
        known: The services that there are without.

    Raises:
        SettingsError: Lines or files cannot be used; it tells all of them.
        MissingExtraError: A package that reads them is not installed.
    """
    given, origin = loading.read_one(config, SERVICES)
    composed = _composed(config, known)
    declared = list(composed.declared)
    problems: list[SettingsError] = []
    for line in given:
        try:
            declared.append(lines.parse(line, config.rootpath, origin))
        except SettingsError as problem:
            problems.append(problem)
    found: list[Service] = []
    for each in declared:
        problems += _taken(each, [*known, *found])
        try:
            found.append(descriptor(each, _dependencies(each, [*known, *found])))
        except SettingsError as problem:
            problems.append(problem)
    wrong = together(problems)
    if wrong:
        raise wrong
    for service in found:
        manifest.add_options(parser, (option.row for option in service.options))
    found.reverse()  # what depends on others comes before them: it is cleaned up first
    return Declared(found, composed.presets, composed.told)


def _composed(config: pytest.Config, known: Sequence[Service]) -> _Composed:
    """Return what Compose files say, without what is about a server that is given by URL."""
    names, origin = loading.read_one(config, COMPOSE)
    if not names:
        return _Composed()
    from pytest_berth.services.compose.declare import compose

    profiles = loading.read_one(config, COMPOSE_PROFILES).value
    paths = [config.rootpath / name for name in names]
    found = compose(paths, profiles, known, os.environ, origin)
    given = [each for each in known if loading.read_one(config, each.url).value]
    useless = {
        option.name for each in given for option in each.options if option.type != "linelist"
    }
    presets = {name: found.presets[name] for name in found.presets.keys() - useless}
    told = [f"{', '.join(names)}: {', '.join(found.become) or 'no service is switched on'}"]
    if found.left:
        told.append(f"not honoured: {', '.join(found.left)}")
    return _Composed(found.declared, presets, "; ".join(told))


def _dependencies(declared: Declaration, known: Sequence[Service]) -> dict[str, Service]:
    """Return what a service depends on, directly or not, by the names under which it finds it.

    Raises:
        SettingsError: There is no such service, or none that is declared before.
    """
    by_name = {each.prefix: each for each in known} | {each.name: each for each in known}
    found: dict[str, Service] = {}
    for alias, name in declared.depends_on.items():
        if name not in by_name:
            raise SettingsError(
                f"{declared.name} depends on {name!r}, which is no service declared before it.",
                why=f"{declared.origin} says so",
                remedy=f"declare it in a line before; {nearest(name, by_name)}",
            )
        found |= by_name[name].depends_on
        found[alias] = by_name[name]
    return found


def descriptor(declared: Declaration, depends_on: Mapping[str, Service] | None = None) -> Service:
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
        depends_on=depends_on,
        address_help=f"URL of the first port of {name}, as {declared.origin} declares it.",
    )


def _backend(
    declared: Declaration, allow_reset: Option[tuple[str, ...]], service: Service
) -> Backend:
    from pytest_berth.services.generic.backend import Generic

    return Generic(service, declared, allow_reset)


def _taken(declared: Declaration, known: Sequence[Service]) -> list[SettingsError]:
    """Return what is wrong with a name that another service has."""
    return [
        SettingsError(
            f"{declared.origin} names a service {declared.name!r}, which is there already.",
            why=f"{other.label} has the name {other.name!r}, and its settings begin with"
            f" berth_{other.prefix}_",
            remedy="give it another name; in a Compose file: x-berth: {name: another}",
        )
        for other in known
        if declared.name in {other.name, other.prefix}
    ]
