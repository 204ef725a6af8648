"""Write ``manifest.json``: what pytest is told of our services before one is imported.

    python tools/write_manifest.py

Run it when an option, a marker or a fixture has changed; a unit test tells.
"""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_berth import manifest
from pytest_berth.config import markers, options
from pytest_berth.isolation import service_fixtures
from pytest_berth.services import discovery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Service


def main() -> None:
    """Write the file."""
    Path(manifest.PATH).write_text(made(), encoding="utf-8")


def made() -> str:
    """Return the text of the file: a row a line."""
    told = {
        "options": [[*option.row] for option in options.OPTIONS],
        "markers": [markers.INTEGRATION],
        "services": [*map(_service, discovery.ours())],
    }
    return f"{_lines(told)}\n"


def _service(service: Service) -> dict[str, Any]:
    return {
        "name": service.name,
        "marker": service.marker.line,
        "options": [[*option.row] for option in service.options],
        "fixtures": [*_fixtures(service)],
    }


def _fixtures(service: Service) -> Iterator[list[Any]]:
    of_module = vars(import_module(service.fixture_module))
    for name, found in {**vars(service_fixtures.of_service(service)), **of_module}.items():
        # pytest before 8.4 has it under another name.
        marker = getattr(found, "_fixture_function_marker", None)
        marker = marker or getattr(found, "_pytestfixturefunction", None)
        if marker:
            arguments = [*inspect.signature(found.__wrapped__).parameters]
            yield [name, found.__wrapped__.__module__, marker.scope, arguments]


def _lines(value: Any, depth: int = 0) -> str:
    """Return JSON in which a row of a table, which has a text first, is a line."""
    indent = "\n" + "  " * depth
    if isinstance(value, dict):
        inner = [f"{json.dumps(key)}: {_lines(each, depth + 1)}" for key, each in value.items()]
        brackets = "{}"
    elif isinstance(value, list) and not isinstance(value[0], str):
        inner = [_lines(each, depth + 1) for each in value]
        brackets = "[]"
    else:
        return json.dumps(value)
    lines = ",".join(f"{indent}  {each}" for each in inner)
    return f"{brackets[0]}{lines}{indent}{brackets[1]}"


if __name__ == "__main__":
    main()
