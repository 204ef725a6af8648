"""The tables of the reference, made from settings, fixtures, markers, commands and public names."""

from __future__ import annotations

import argparse
import inspect
import re
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_berth.cli import commands as command_line
from pytest_berth.config import options as core_options
from pytest_berth.isolation import service_fixtures
from pytest_berth.services import discovery
from pytest_berth.services.postgres.isolation.choice import COMMITTING_FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_berth.api import Service
    from pytest_berth.config.options import Option

SETTINGS = ("Setting", "Default", "Environment, flag", "Meaning")
FIXTURES = ("Fixture", "Type", "Scope", "Gives")
OF_POSTGRES = ("Fixture", "Type", "Scope", "Commits", "Gives")


def settings(group: str) -> str:
    """Return the table of a service's settings, or of the ``general`` ones."""
    return _table(SETTINGS, map(_setting, options(group)))


def options(group: str) -> Iterable[Option[Any]]:
    """Return the options of a service, or the ``general`` ones."""
    return core_options.OPTIONS if group == "general" else _service(group).options


def groups() -> list[str]:
    """Return all names that `settings` takes."""
    return ["general", *(service.name for service in discovery.ours())]


def fixtures(name: str) -> str:
    """Return the table of a service's public fixtures."""
    rows = [*_fixtures(_service(name))]
    if name != "postgres":
        return _table(FIXTURES, rows)
    commit = {f"`{each}`" for each in COMMITTING_FIXTURES}
    told = ((*row[:3], "yes" if row[0] in commit else "no", row[3]) for row in rows)
    return _table(OF_POSTGRES, told)


def markers() -> str:
    """Return the table of all markers."""
    lines = [service.marker.line.partition(": ") for service in discovery.ours()]
    return _table(("Marker", "Meaning"), ((f"`{call}`", _cell(text)) for call, _, text in lines))


def commands() -> str:
    """Return what each command does, with its arguments."""
    (found,) = (each for each in _actions(command_line.make_parser()) if each.nargs == "A...")
    told = {choice.dest: choice.help for choice in getattr(found, "_choices_actions", ())}
    parsers: dict[str, argparse.ArgumentParser] = {**(found.choices or {})}  # type: ignore[dict-item]
    return "\n\n".join(_command(name, told[name], each) for name, each in parsers.items())


def names(module: str) -> str:
    """Return the table of a module's public names."""
    found = import_module(module)
    rows = ((f"`{name}`", _first(inspect.getdoc(getattr(found, name)))) for name in found.__all__)
    return _table(("Name", "What it is"), rows)


def _setting(option: Option[Any]) -> tuple[str, ...]:
    listed = ", one per line" if option.type == "linelist" else ""
    ways = [option.variable, *([option.flag] if option.flag else [])]
    return (
        f"`{option.name}`",
        _default(option.default),
        ", ".join(f"`{way}`" for way in ways),
        _cell(f"{option.help}{listed}"),
    )


def _default(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ("", (), 0) or value == timedelta():
        return "not set"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _service(name: str) -> Service:
    (service,) = (each for each in discovery.ours() if each.name == name)
    return service


def _fixtures(service: Service) -> Iterator[tuple[str, ...]]:
    of_module = vars(import_module(service.fixture_module))
    for name, found in {**vars(service_fixtures.of_service(service)), **of_module}.items():
        # pytest before 8.4 has it under another name.
        marker = getattr(found, "_fixture_function_marker", None)
        marker = marker or getattr(found, "_pytestfixturefunction", None)
        if marker and not name.startswith("_"):
            function = inspect.unwrap(found.__wrapped__)
            kind = inspect.signature(function).return_annotation
            kind = re.sub(r"^Iterator\[(.*)\]$", r"\1", kind)
            yield f"`{name}`", f"`{kind}`", marker.scope, _first(function.__doc__)


def _command(name: str, told: str, parser: argparse.ArgumentParser) -> str:
    shown = [
        action
        for action in _actions(parser)
        if action.help != argparse.SUPPRESS and "--help" not in action.option_strings
    ]
    rows = ((_call(action), _cell(action.help or "")) for action in shown)
    table = _table(("Argument", "Meaning"), rows) if shown else ""
    return f"## pytest-berth {name}\n\n{_sentence(parser.description or told)}\n\n{table}".strip()


def _actions(parser: argparse.ArgumentParser) -> Sequence[argparse.Action]:
    return parser._actions  # noqa: SLF001


def _call(action: argparse.Action) -> str:
    return ", ".join(f"`{each}`" for each in action.option_strings) or f"`{_noun(action)}`"


def _noun(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    return ", ".join(map(str, action.choices)) if action.choices else action.dest


def _first(document: str | None) -> str:
    """Return the first sentence of a docstring, without its full stop."""
    paragraph = inspect.cleandoc(document or "").partition("\n\n")[0]
    sentence = " ".join(paragraph.split()).rstrip(".").replace("``", "`")
    return _cell(re.sub(r"\*(\w+)\*", r"`\1`", sentence))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    every = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in every)
