"""The settings: ``-o`` / environment / ini / default, each value with its origin."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from pytest_berth.errors import SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import pytest

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_PASSWORD = re.compile(r"(?P<before>://[^:/?#@\s]*:).*(?=@)|(?P<name>[?&]password=)[^&\s]*")


@dataclass(frozen=True)
class Option(Generic[T_co]):
    """An ini option, and at the same time the typed key of its value in `Settings`.

    Attributes:
        name: Name in the ini file; in upper case, the environment variable's.
        parse: Turns text, or for a linelist the lines, into the value; ValueError when wrong.
        default: The value where nothing is set.
        help: One line for ``pytest --help``.
        type: pytest's ini type: ``string``, ``linelist`` or ``bool``.
        flag: Command-line flag that goes before everything else, if there is one.
    """

    name: str
    parse: Callable[[Any], T_co]
    default: T_co
    help: str
    type: str = "string"
    flag: str | None = None

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return self.name.upper()

    @property
    def dest(self) -> str:
        """Where argparse keeps the flag's value."""
        return (self.flag or self.name).lstrip("-").replace("-", "_")


class Setting(NamedTuple):
    """A value and where it was set: ``default``, ``pytest.ini``, ``BERTH_SOURCE``, ``-o``."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Settings:
    """All values of a run, looked up by their `Option`."""

    root: Path
    values: Mapping[str, Setting]
    problems: tuple[SettingsError, ...] = field(default=())

    def __getitem__(self, option: Option[T]) -> T:
        """Return the option's value."""
        return cast("T", self.values[option.name].value)

    def origin(self, option: Option[Any]) -> str:
        """Return where the option's value was set."""
        return self.values[option.name].origin

    def given(self, option: Option[Any]) -> str:
        """Return ``name = value (origin)`` for messages."""
        return describe(option.name, self.values[option.name])


def describe(name: str, setting: Setting) -> str:
    """Return ``name = value (origin)``."""
    value = setting.value
    if isinstance(value, tuple):
        value = " | ".join(map(str, value))
    return f"{name} = {mask('' if value is None else str(value))} ({setting.origin})"


def mask(text: str) -> str:
    """Return the text with ``***`` for the passwords of URLs."""
    return _PASSWORD.sub(r"\g<before>\g<name>***", text)


def text(value: str) -> str:
    """Take the text as it is, without surrounding blanks."""
    return value.strip()


def lines(value: Iterable[str]) -> tuple[str, ...]:
    """Take every line that is neither empty nor a comment."""
    stripped = (line.strip() for line in value)
    return tuple(line for line in stripped if line and not line.startswith("#"))


def words(value: Iterable[str]) -> tuple[str, ...]:
    """Take every word of every line."""
    return tuple(word for line in lines(value) for word in line.split())


def boolean(value: str | bool) -> bool:
    """Take true/false, yes/no, on/off, 1/0."""
    known = {"true": True, "yes": True, "on": True, "1": True}
    known |= {"false": False, "no": False, "off": False, "0": False}
    try:
        return known[str(value).strip().lower()]
    except KeyError:
        raise ValueError("use true or false") from None


def seconds(value: str) -> float:
    """Take a number of seconds above zero."""
    try:
        number = float(value)
    except ValueError:
        raise ValueError("use a number of seconds, such as 60") from None
    if not 0 < number < float("inf"):
        raise ValueError("use a number of seconds above 0")
    return number


def choice(*valid: str) -> Callable[[str], str]:
    """Take one of the valid words."""

    def parse(value: str) -> str:
        word = value.strip()
        if word not in valid:
            raise ValueError(nearest(word, filter(None, valid)))
        return word

    return parse


SOURCE: Option[str] = Option(
    "berth_source",
    choice("auto", "container", "local", "external"),
    "auto",
    "where servers come from: auto (default), container, local or external",
    flag="--berth-source",
)
MISSING: Option[str] = Option(
    "berth_missing",
    choice("fail", "skip"),
    "fail",
    "what happens to integration tests when no source can serve: fail (default) or skip",
)
ORDER: Option[str] = Option(
    "berth_order",
    choice("unit-first", "none"),
    "unit-first",
    "unit-first (default) runs modules without integration tests first; none leaves the order",
)
FAIL_FAST: Option[bool] = Option(
    "berth_fail_fast",
    boolean,
    False,
    "end the run before any server starts when a unit test failed",
    type="bool",
    flag="--berth-fail-fast",
)
EXPORT: Option[tuple[str, ...]] = Option(
    "berth_export",
    lines,
    (),
    "environment variables for the application: lines such as DATABASE_URL = {pg_url}",
    type="linelist",
)
START_TIMEOUT: Option[float] = Option(
    "berth_start_timeout",
    seconds,
    60.0,
    "seconds that a server may take to become ready (default 60)",
)
ARTIFACT_MIRROR: Option[str] = Option(
    "berth_artifact_mirror",
    text,
    "https://repo1.maven.org/maven2",
    "Maven repository that server binaries are fetched from",
)
OPTIONS: tuple[Option[Any], ...] = (
    SOURCE,
    MISSING,
    ORDER,
    FAIL_FAST,
    EXPORT,
    START_TIMEOUT,
    ARTIFACT_MIRROR,
)


def add_options(parser: pytest.Parser, options: Iterable[Option[Any]]) -> None:
    """Register ini options, and the flags of those that have one."""
    for option in options:
        # With None as default, getini tells "not set" from every value that can be set.
        parser.addini(option.name, option.help, type=cast("Any", option.type), default=None)
        if option.flag:
            action = "store_true" if option.type == "bool" else "store"
            group = parser.getgroup("berth", "real servers (pytest-berth)")
            group.addoption(option.flag, action=action, default=None, help=option.help)


def read(config: pytest.Config, options: Iterable[Option[Any]]) -> Settings:
    """Read all settings; what is wrong is kept as `Settings.problems`, not raised."""
    options = tuple(options)
    values: dict[str, Setting] = {}
    problems = _unknown(config, {option.name for option in options})
    for option in options:
        raw, origin = _raw(config, option)
        try:
            value = option.default if raw is None else option.parse(raw)
        except (ValueError, SettingsError) as error:
            problems.append(_problem(option, raw, origin, error))
            value = option.default
        values[option.name] = Setting(value, origin)
    return Settings(config.rootpath, values, tuple(problems))


def defaults(root: Path, options: Iterable[Option[Any]]) -> Settings:
    """Return the settings of a process that works outside pytest."""
    return Settings(root, {option.name: Setting(option.default, "default") for option in options})


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
    import pytest

    try:
        return config.getini(option.name)
    except (TypeError, ValueError, pytest.UsageError):
        # A number in pytest.toml, or a slip, which our own message tells better than pytest's.
        given = _inicfg(config)[option.name]
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
    wrong = [name for name in _inicfg(config) if name.startswith("berth") and name not in known]
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


def _inicfg(config: pytest.Config) -> Mapping[str, Any]:
    # pytest itself offers no public way to list the names that an ini file sets.
    return getattr(config, "_inicfg", None) or getattr(config, "inicfg", {})


def _overrides(config: pytest.Config) -> set[str]:
    given = getattr(config.known_args_namespace, "override_ini", None) or ()
    return {entry.partition("=")[0].strip() for entry in given}


def _ini_name(config: pytest.Config) -> str:
    return config.inipath.name if config.inipath else "ini file"
