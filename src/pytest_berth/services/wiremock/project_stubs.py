"""The stubs of the project: JSON files in a directory, as WireMock itself has them.

A server gets each stub as a file of its own, marked as persistent and with an id that follows from
the file's name. So a test may delete all stubs, which WireMock refuses where a file holds several,
and a test that has WireMock read its files again finds the stubs of before.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from pytest_berth.errors import SettingsError
from pytest_berth.services.wiremock.options import FILES, MAPPINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_berth.config.options import Option, Settings

_NAMESPACE = UUID("6d8e3f0a-6a0f-4b8e-9c53-1f0f4c1d7a10")


def stubs(settings: Settings) -> Sequence[Mapping[str, Any]]:
    """Return the stubs of ``berth_wiremock_mappings``, in the order of the files' names.

    Raises:
        SettingsError: There is no such directory, or a file holds something else.
    """
    directory = _directory(settings, MAPPINGS)
    return _read(directory, settings.given(MAPPINGS)) if directory else ()


def files(settings: Settings) -> Mapping[str, bytes]:
    """Return the contents of ``berth_wiremock_files`` by path below that directory.

    Raises:
        SettingsError: There is no such directory.
    """
    directory = _directory(settings, FILES)
    if directory is None:
        return {}
    found = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in found}


def root_files(settings: Settings) -> dict[str, bytes]:
    """Return the files that a server starts with, by path below its root directory."""
    found = {
        f"mappings/{number:04}-{stub['id']}.json": json.dumps(stub).encode()
        for number, stub in enumerate(stubs(settings))
    }
    bodies = {f"__files/{path}": content for path, content in files(settings).items()}
    return {**found, **bodies}


def _directory(settings: Settings, option: Option[str]) -> Path | None:
    if not settings[option]:
        return None
    directory = settings.root / settings[option]
    if not directory.is_dir():
        raise SettingsError(
            f"there is no directory {settings[option]}.",
            why=f"{settings.given(option)}, relative to {settings.root}",
            remedy=f"make it, or set {option.name} to where it is",
        )
    return directory


@cache
def _read(directory: Path, origin: str) -> Sequence[Mapping[str, Any]]:
    return [
        stub
        for path in sorted(directory.rglob("*.json"))
        for stub in _stubs(path, path.relative_to(directory).as_posix(), origin)
    ]


def _stubs(path: Path, name: str, origin: str) -> Iterator[Mapping[str, Any]]:
    """Yield the stubs of one file, which may hold one, or a list under ``mappings``."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise _unusable(name, f"it is not JSON: {error}", origin) from None
    found = content.get("mappings", [content]) if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise _unusable(name, "it is not a JSON object", origin)
    for number, stub in enumerate(found):
        if not isinstance(stub, dict) or not {"request", "response"} & stub.keys():
            raise _unusable(name, "it has neither request nor response", origin)
        given = stub.get("id") or stub.get("uuid") or str(uuid5(_NAMESPACE, f"{name} {number}"))
        yield {**stub, "id": given, "uuid": given, "persistent": True}


def _unusable(name: str, why: str, origin: str) -> SettingsError:
    return SettingsError(
        f"the stubs in {name} cannot be read.",
        why=f"{why}\n{origin}",
        remedy='a file holds one stub, {"request": {...}, "response": {...}},'
        ' or several: {"mappings": [...]}',
    )
