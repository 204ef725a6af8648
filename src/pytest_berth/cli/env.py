"""``pytest-berth env``: prints what ``berth_export`` sets, for shells and files."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from pytest_berth.cli.arguments import add_name
from pytest_berth.cli.lines import Lines
from pytest_berth.standalone import development, project

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "env",
        help="print what berth_export sets, for the development servers",
        epilog='examples: eval "$(pytest-berth env)"; pytest-berth env --fish | source;'
        " pytest-berth env --dotenv > .env",
    )
    forms = command.add_mutually_exclusive_group()
    for name in _FORMS:
        if name != "sh":
            forms.add_argument(f"--{name}", dest="form", action="store_const", const=name)
    command.set_defaults(run=_env, form="sh")
    add_name(command)


def _sh(values: Mapping[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(text)}" for name, text in values.items())


def _fish(values: Mapping[str, str]) -> str:
    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"

    return "\n".join(f"set -gx {name} {quoted(text)}" for name, text in values.items())


def _powershell(values: Mapping[str, str]) -> str:
    doubled = {name: text.replace("'", "''") for name, text in values.items()}
    return "\n".join(f"$Env:{name} = '{text}'" for name, text in doubled.items())


def _dotenv(values: Mapping[str, str]) -> str:
    escaped = {
        name: text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, text in values.items()
    }
    return "\n".join(f'{name}="{text}"' for name, text in escaped.items())


_FORMS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "sh": _sh,
    "dotenv": _dotenv,
    "json": lambda values: json.dumps(dict(values), indent=2),
    "fish": _fish,
    "powershell": _powershell,
}


def _env(given: argparse.Namespace) -> None:
    found = project.find()
    there = development.find(found.root, given.name).following(found)
    if not there.environment:
        Lines().note("berth_export sets nothing: there is nothing to print")
    else:
        print(_FORMS[given.form](there.environment))
