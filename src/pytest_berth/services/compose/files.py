"""Reads Compose files: YAML as Compose reads it, variables, several files put together.

https://github.com/compose-spec/compose-spec/blob/main/13-merge.md
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_berth.config.options import COMPOSE
from pytest_berth.errors import MissingExtraError, SettingsError, nearest
from pytest_berth.services.compose.interpolation import Variables
from pytest_berth.services.compose.normal import normal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_EXTRA = "compose"
# Each of these is replaced as a whole, not added to.
_WHOLE = ("command", "entrypoint", "test")


def read(
    files: Sequence[Path], environment: Mapping[str, str], origin: str
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the services of Compose files by name, each in its long form, and what is to be told.

    Paths, and ``.env``, are looked for in the directory of the first file.

    Args:
        files: The files.
        environment: Variables that go before those of ``.env``.
        origin: Where the files are set.

    Raises:
        SettingsError: A file cannot be read.
        MissingExtraError: PyYAML is not installed.
    """
    directory = files[0].parent
    variables = Variables({**_dotenv(directory / ".env"), **environment})
    services: dict[str, dict[str, Any]] = {}
    told: list[str] = []
    for file in files:
        found = _document(file, origin)
        told += [f"{key} of {file.name}" for key in ("include",) if key in found]
        try:
            of_file = variables.everywhere(found.get("services") or {})
            for name in of_file:
                whole = normal(_extended(name, of_file, file, variables, origin), directory)
                services[name] = merged(services.get(name, {}), whole)
        except ValueError as error:
            raise _unreadable(file, str(error), origin) from error
    if variables.unset:
        told.append(f"variables that are not set, and empty: {', '.join(variables.unset)}")
    return services, told


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two files say together: maps by key, lists one behind the other."""
    result = dict(first)
    for key, value in second.items():
        known = result.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            result[key] = merged(known, value)
        elif isinstance(known, list) and isinstance(value, list) and key not in _WHOLE:
            result[key] = [*known, *(each for each in value if each not in known)]
        else:
            result[key] = value
    return result


def variables_of(path: Path) -> dict[str, str]:
    """Return the variables of an ``env_file``."""
    from dotenv import dotenv_values

    return {name: value or "" for name, value in dotenv_values(path).items()}


def _dotenv(path: Path) -> dict[str, str]:
    return variables_of(path) if path.is_file() else {}


def _document(file: Path, origin: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("yaml", _EXTRA, needed_by=COMPOSE.name) from None
    try:
        found = yaml.load(file.read_text("utf-8"), Loader=_loader(yaml))
    except FileNotFoundError:
        raise _missing(file, origin) from None
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise _unreadable(file, " ".join(str(error).split()), origin) from error
    if not isinstance(found, dict) or not isinstance(found.get("services") or {}, dict):
        raise _unreadable(file, "it has no map of services", origin)
    return found


def _loader(yaml: Any) -> Any:
    """Return what loads YAML 1.2 as Compose does: ``on`` is a text, ``22:22`` and ``1.10`` are."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        pass

    kept = {"tag:yaml.org,2002:merge", "tag:yaml.org,2002:null"}
    Loader.yaml_implicit_resolvers = {
        first: [each for each in found if each[0] in kept]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    is_boolean = re.compile(r"true|True|TRUE|false|False|FALSE")
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", is_boolean, list("tTfF"))
    return Loader


def _extended(
    name: str, of_file: Mapping[str, Any], file: Path, variables: Variables, origin: str
) -> dict[str, Any]:
    """Return a service with what it extends.

    Raises:
        ValueError: It is no service, or extends none.
    """
    service = of_file[name] or {}
    if not isinstance(service, dict):
        raise ValueError(f"the service {name!r} is {service!r}, and has to be a map")
    own = {key: value for key, value in service.items() if key != "extends"}
    base = service.get("extends")
    try:
        if not base:
            return normal(own, file.parent)
        given = {"service": base} if isinstance(base, str) else base
        others = of_file
        if not isinstance(given, dict) or "service" not in given:
            raise ValueError(f"extends is {base!r}, and has to be the name of a service")
        if given.get("file"):
            other = file.parent / given["file"]
            others = variables.everywhere(_document(other, origin).get("services") or {})
        if given["service"] not in others:
            near = nearest(given["service"], others)
            raise ValueError(f"it extends {given['service']!r}, which is not there, {near}")
        found = _extended(given["service"], others, file, variables, origin)
        return merged(normal(found, file.parent), normal(own, file.parent))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"the service {name!r}: {error}") from error


def _missing(file: Path, origin: str) -> SettingsError:
    there = sorted(each.name for each in file.parent.glob("*.y*ml")) if file.parent.is_dir() else []
    near = f"{nearest(file.name, there)}\n" if there else ""
    return SettingsError(
        f"the Compose file {file.name} is not there.",
        why=f"it is looked for at {file}; {COMPOSE.name} is set by {origin}",
        remedy=f"{near}write it relative to the ini file's directory",
    )


def _unreadable(file: Path, why: str, origin: str) -> SettingsError:
    return SettingsError(
        f"the Compose file {file.name} cannot be read.",
        why=f"{why}; {COMPOSE.name} is set by {origin}",
        remedy=f"`docker compose -f {file} config` says what is wrong with it",
    )
