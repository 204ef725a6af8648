"""Brings a service of a Compose file into one form: maps by key, paths that are absolute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED: Mapping[type, str] = {dict: "a map", list: "a list", str: "a text"}
# What Compose has where, longer forms included.
_KINDS: Mapping[str, tuple[type, ...]] = {
    "command": (str, list),
    "depends_on": (list, dict),
    "entrypoint": (str, list),
    "env_file": (str, list),
    "environment": (dict, list),
    "expose": (list, dict),
    "healthcheck": (dict,),
    "image": (str,),
    "ports": (list, dict),
    "profiles": (list,),
    "tmpfs": (str, list),
    "volumes": (list, dict),
}


def normal(service: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return a service in its long form; what is in that form already stays.

    Raises:
        ValueError: Something in it is of another kind than Compose has there, or a port is none.
    """
    _require_kinds(service)
    found = dict(service)
    for key, change in {
        "environment": _variables,
        "depends_on": lambda value: dict.fromkeys(value) if isinstance(value, list) else value,
        "ports": _ports,
        "expose": _ports,
        "volumes": lambda value: _mounts(value, directory),
        "env_file": lambda value: _paths(value, directory),
        "tmpfs": lambda value: [value] if isinstance(value, str) else value,
    }.items():
        if found.get(key) is not None:
            found[key] = change(found[key])  # type: ignore[no-untyped-call]
    return found


def _require_kinds(service: Mapping[str, Any]) -> None:
    for key, value in service.items():
        kinds = _KINDS.get(key)
        if kinds and value is not None and not isinstance(value, kinds):
            expected = " or ".join(_NAMED[kind] for kind in kinds)
            raise ValueError(f"{key} is {value!r}, and has to be {expected}")


def _variables(value: Any) -> dict[str, str | None]:
    """Return variables by name; None for those that are taken from the environment."""
    if isinstance(value, dict):
        return {name: _text(each) for name, each in value.items()}
    pairs = (each.partition("=") for each in value)
    return {name: each if equals else None for name, equals, each in pairs}


def _text(value: Any) -> str | None:
    return str(value).lower() if isinstance(value, bool) else value


def _ports(value: Any) -> dict[str, str]:
    """Return names by the TCP ports inside the container; where they are on a host is left out."""
    if isinstance(value, dict):
        return value
    found: dict[str, str] = {}
    for each in value:
        long = each if isinstance(each, dict) else {}
        target, _, protocol = str(long.get("target") or each).rpartition(":")[2].partition("/")
        if (long.get("protocol") or protocol or "tcp") != "tcp":
            continue
        first, _, last = target.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise ValueError(f"{each!r} is no port")
        for number in range(int(first), int(last or first) + 1):
            found[str(number)] = long.get("name") or str(number)
    return found


def _mounts(value: Any, directory: Path) -> dict[str, dict[str, Any]]:
    """Return what is mounted by its path in the container."""
    if isinstance(value, dict):
        return value
    found = {}
    for each in value:
        mount = each if isinstance(each, dict) else _short(each)
        source = mount.get("source") or ""
        if mount["type"] == "bind":
            source = str(directory / Path(source).expanduser())
        found[mount["target"]] = {
            "type": mount["type"],
            "source": source,
            "read_only": mount.get("read_only") in (True, "true"),
        }
    return found


def _short(text: str) -> dict[str, Any]:
    parts = text.split(":")
    if len(parts) == 1:
        return {"type": "volume", "target": text}
    source, target = parts[:2]
    kind = "bind" if source.startswith((".", "/", "~")) else "volume"
    options = parts[2].split(",") if parts[2:] else []
    return {"type": kind, "source": source, "target": target, "read_only": "ro" in options}


def _paths(value: Any, directory: Path) -> list[dict[str, Any]]:
    found = []
    for each in [value] if isinstance(value, (str, dict)) else value:
        entry = each if isinstance(each, dict) else {"path": each}
        is_required = entry.get("required") not in (False, "false")
        found.append({"path": str(directory / entry["path"]), "required": is_required})
    return found
