"""``pytest-berth url``: prints the address of a development server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.cli.arguments import add_name
from pytest_berth.errors import SettingsError, nearest
from pytest_berth.standalone import development, project

if TYPE_CHECKING:
    import argparse

    from pytest_berth.standalone.development import Development
    from pytest_berth.standalone.project import Project


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "url",
        help="print the address of a development server, with its password",
        epilog="examples: pytest-berth url redis; psql $(pytest-berth url pg_dsn);"
        " pytest-berth url mail_port:smtp",
    )
    command.add_argument(
        "service",
        help="a service, or a placeholder of berth_export: postgres, pg_dsn, mail_port:smtp",
    )
    add_name(command)
    command.set_defaults(run=_url)


def _url(given: argparse.Namespace) -> None:
    found = project.find()
    there = development.find(found.root, given.name)
    word = given.service.removeprefix("{").removesuffix("}")
    if word in there.values:
        print(there.values[word])
        return
    service = found.service(word)
    if service:
        print(there.told(service)["url"])
        return
    if word.partition(":")[0] not in there.values:
        raise _unknown(found, there, word)
    print(there.render(f"{{{word}}}"))


def _unknown(found: Project, there: Development, word: str) -> SettingsError:
    names = [name for each in found.services for name in (each.name, each.prefix)]
    return SettingsError(
        f"there is no service and no placeholder {word!r}.",
        why=f"up are {', '.join(there.services)}",
        remedy=nearest(word, {*names, *there.values}),
    )
