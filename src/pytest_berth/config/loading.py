"""Reads the settings, in the order flag, ``-o``, environment, ini, default, and checks them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from pytest_berth.config.options import Setting, Settings, mask
from pytest_berth.errors import SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_berth.config.options import Option


SETTINGS = pytest.StashKey[Settings]()


class Preset(NamedTuple):
    """What a setting is where nothing sets it; the lines of a list come before those that are set.

    Attributes:
        value: Text, or lines, as in an ini file.
        origin: Where it comes from.
    """

    value: Any
    origin: str


def read(
    config: pytest.Config,
    options: Iterable[Option[Any]],
    presets: Mapping[str, Preset] | None = None,
) -> Settings:
    """Read all settings; what is wrong is kept as `Settings.problems`, not raised.

    Args:
        config: pytest's configuration.
        options: What can be set.
        presets: What some of them are where nothing sets them.
    """
    options = tuple(options)
    values: dict[str, Setting] = {}
    problems = _unknown(config, {option.name for option in options})
    for option in options:
        raw, origin = _with_preset(option, _raw(config, option), (presets or {}).get(option.name))
        try:
            value = option.default if raw is None else option.parse(raw)
        except (ValueError, SettingsError) as error:
            problems.append(_problem(option, raw, origin, error))
            value = option.default
        values[option.name] = Setting(value, origin)
    return Settings(config.rootpath, values, tuple(problems))


def read_one(config: pytest.Config, option: Option[Any]) -> Setting:
    """Read a setting before the others, as it says which others there are.

    Raises:
        SettingsError: It has a value that cannot be used.
    """
    raw, origin = _raw(config, option)
    try:
        return Setting(option.default if raw is None else option.parse(raw), origin)
    except (ValueError, SettingsError) as error:
        raise _problem(option, raw, origin, error) from None


def _with_preset(
    option: Option[Any], given: tuple[Any, str], preset: Preset | None
) -> tuple[Any, str]:
    raw, origin = given
    if preset is None or (raw is not None and option.type != "linelist"):
        return given
    if raw is None:
        return preset
    return [*preset.value, *raw], f"{preset.origin}; {origin}"


def _raw(config: pytest.Config, option: Option[Any]) -> tuple[Any, str]:
    flag = getattr(config.known_args_namespace, option.dest, None) if option.flag else None
    if flag is not None:
        return flag, cast("str", option.flag)
    if option.name not in _overrides(config):
        variable = os.environ.get(option.variable)
        if variable is not None:
            listed = option.type == "linelist"
            return variable.splitlines() if listed else variable, option.variable
    raw = _ini_value(config, option)
    if raw is None:
        return None, "default"
    return raw, "-o" if option.name in _overrides(config) else _ini_name(config)


def _ini_value(config: pytest.Config, option: Option[Any]) -> Any:
    try:
        return config.getini(option.name)
    except (TypeError, ValueError, pytest.UsageError):
        # A number in pytest.toml, or a slip, which our own message tells better than pytest's.
        given = _given(config)[option.name]
        value = getattr(given, "value", given)
        if option.type != "linelist":
            return str(value)
        return list(map(str, value)) if isinstance(value, list) else str(value).splitlines()


def _problem(
    option: Option[Any], raw: Any, origin: str, error: ValueError | SettingsError
) -> SettingsError:
    shown = mask(" | ".join(map(str, raw)) if isinstance(raw, list) else str(raw))
    what = f"{option.name} has a value that cannot be used."
    if isinstance(error, SettingsError):
        return SettingsError(error.what, why=f"{error.why} ({origin})", remedy=error.remedy)
    return SettingsError(what, why=f"{shown!r}, set by {origin}", remedy=str(error))


def _unknown(config: pytest.Config, known: set[str]) -> list[SettingsError]:
    wrong = [name for name in _given(config) if name.startswith("berth") and name not in known]
    problems = [
        SettingsError(
            f"unknown setting {name!r}.",
            why=f"it is set in {'-o' if name in _overrides(config) else _ini_name(config)}",
            remedy=nearest(name, known),
        )
        for name in wrong
    ]
    return problems + _unknown_variables({name.upper() for name in known})


def _unknown_variables(known: set[str]) -> list[SettingsError]:
    import difflib

    # An application may own variables of this prefix: only what looks like a slip is an error.
    slips = {
        name: difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        for name in os.environ
        if name.startswith("BERTH_") and name not in known
    }
    return [
        SettingsError(
            f"unknown setting {name!r}.",
            why="it is set in the environment",
            remedy=f"did you mean {match[0]!r}?",
        )
        for name, match in slips.items()
        if match
    ]


def _given(config: pytest.Config) -> Mapping[str, Any]:
    from pytest_berth.compat import pytest_private

    return {**pytest_private.ini_values(config), **_overrides(config)}


def _overrides(config: pytest.Config) -> Mapping[str, str]:
    given = getattr(config.known_args_namespace, "override_ini", None) or ()
    parts = (entry.partition("=") for entry in given)
    return {name.strip(): value for name, _, value in parts}


def _ini_name(config: pytest.Config) -> str:
    return config.inipath.name if config.inipath else "ini file"
