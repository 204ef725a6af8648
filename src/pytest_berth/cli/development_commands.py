"""Commands about development servers: ``up``, ``down``, ``url``, ``env``, ``logs``, ``reset``."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.cli.lines import Bars, Lines
from pytest_berth.config.options import duration, mask
from pytest_berth.errors import DevelopmentError
from pytest_berth.sources.choose import Sources
from pytest_berth.standalone import development, project
from pytest_berth.waiting import pause

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from pytest_berth.api import Service
    from pytest_berth.standalone.development import Development
    from pytest_berth.standalone.project import Project

_LOOK_EVERY = 0.3
_SEEDED_WITHIN = 3600.0


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    _add_up(commands)
    _add_down(commands)
    _add_url(commands)
    _add_env(commands)
    _add_logs(commands)
    _add_reset(commands)
    _add_seed(commands)


def add_name(command: argparse.ArgumentParser) -> None:
    """Add the option that says which development servers are meant."""
    about = "which servers, where the project has several (default: default)"
    command.add_argument("--name", default=development.NAME, help=about)


def seconds(text: str) -> float:
    """Take a time such as ``15m``, for an option."""
    return duration(text).total_seconds()


def sound_project() -> Project:
    """Return the project of the working directory.

    Raises:
        SettingsError: A setting is wrong.
    """
    found = project.find()
    found.require_sound()
    return found


def _add_up(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "up",
        help="start servers for development, with schema and seeds, and let them stay",
        description="Start servers for development, beside and apart from those of tests: with the"
        " project's settings, schema and seeds. They stay until `pytest-berth down`.",
        epilog="examples: pytest-berth up; pytest-berth up postgres redis --name demo;"
        ' eval "$(pytest-berth env)"',
    )
    command.add_argument("services", nargs="*", metavar="service", help=_SERVICES)
    add_name(command)
    command.set_defaults(run=_up)


_SERVICES = "left out: those that berth_export and berth_autouse name"


def _up(given: argparse.Namespace) -> None:
    found = sound_project()
    services = found.named(given.services)
    with closing(Bars()) as progress:
        there = development.ensure(found, services, progress, name=given.name)
    for name, told in there.services.items():
        print(f"{name}  {mask(told['url'])}")


def _add_down(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "down",
        help="end this project's development servers, with their data",
        description="End the development servers of this project, with all that is in them. Those"
        " of other projects, and those of tests, are not touched.",
    )
    add_name(command)
    command.set_defaults(run=_down)


def _down(given: argparse.Namespace) -> None:
    there = development.find(project.find().root, given.name)
    users = there.users
    there.end()
    used = f"; used by {', '.join(users)}" if users else ""
    Lines().note(f"ended: {', '.join(there.services)}{used}")


def _add_url(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "url",
        help="print the address of a development server, with its password",
        epilog="examples: pytest-berth url redis; psql $(pytest-berth url pg_dsn)",
    )
    command.add_argument(
        "service", help="a service, or a placeholder of berth_export: postgres, pg_dsn"
    )
    add_name(command)
    command.set_defaults(run=_url)


def _url(given: argparse.Namespace) -> None:
    found = project.find()
    there = development.find(found.root, given.name)
    if given.service in there.values:
        print(there.values[given.service])
        return
    (service,) = found.named([given.service])
    print(there.told(service)["url"])


def _add_env(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    there = development.find(project.find().root, given.name)
    if not there.environment:
        Lines().note("berth_export sets nothing: there is nothing to print")
    else:
        print(_FORMS[given.form](there.environment))


def _add_logs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("logs", help="print what a development server has logged")
    command.add_argument("service")
    command.add_argument("--follow", "-f", action="store_true", help="go on until Ctrl-C")
    add_name(command)
    command.set_defaults(run=_logs)


def _logs(given: argparse.Namespace) -> None:
    found, there, service = _one(given)
    server = there.server(service)
    source = Sources(found.settings, "")[server.source]
    position = source.log_position(server) if given.follow else 0.0
    sys.stdout.write(source.log(server, 0))
    while given.follow and there.is_up:
        sys.stdout.flush()
        pause(_LOOK_EVERY)
        since, position = position, source.log_position(server)
        sys.stdout.write(source.log(server, since))


def _add_reset(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "reset",
        help="put the development servers back to schema and seeds, as `up` has made them",
        description="Put all development servers of this project back to what they held when they"
        " were started: schema and seeds. Programs stay connected; their open transactions end."
        " `down` and `up` apply a schema that has changed meanwhile.",
    )
    add_name(command)
    command.set_defaults(run=_reset)


def _reset(given: argparse.Namespace) -> None:
    there = development.find(project.find().root, given.name)
    there.ask("reset")
    Lines().note(f"reset: {', '.join(there.services)}")


def _add_seed(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "seed",
        help="write a seed into a development server, as it stands",
        description="Write seeds into a development server, as it stands: SQL files, or what else"
        " the service's setting for seeds may hold. `reset` goes back to before.",
        epilog="examples: pytest-berth seed demo.sql; pytest-berth seed app.seeds:demo",
    )
    command.add_argument("seeds", nargs="+", metavar="seed", help="a file, or package.module:name")
    command.add_argument("--service", help="which, where several take seeds")
    add_name(command)
    command.set_defaults(run=_seed)


def _seed(given: argparse.Namespace) -> None:
    found = project.find()
    there = development.find(found.root, given.name)
    able = [name for name, told in there.services.items() if told["seeds"]]
    if given.service:
        (service,) = found.named([given.service])
        there.told(service)
        able = [name for name in able if name == service.name]
    if len(able) != 1:
        raise _no_place_for_seeds(able, there)
    # A file is found from here; the supervisor is elsewhere.
    lines = [str(Path(each).absolute()) if Path(each).exists() else each for each in given.seeds]
    there.ask("seed", within=_SEEDED_WITHIN, service=able[0], lines=lines)
    Lines().note(f"{able[0]}: {', '.join(given.seeds)}")


def _no_place_for_seeds(able: list[str], there: Development) -> DevelopmentError:
    up = ", ".join(there.services)
    if not able:
        return DevelopmentError("no server takes seeds.", why=f"up are {up}")
    return DevelopmentError(
        "it is not clear where the seed is to go.",
        why=f"these take seeds: {', '.join(able)}",
        remedy=f"pytest-berth seed FILE --service {able[0]}",
    )


def _one(given: argparse.Namespace) -> tuple[Project, Development, Service]:
    """Return the project, its development servers, and the service that is meant."""
    found = project.find()
    (service,) = found.named([given.service])
    return found, development.find(found.root, given.name), service
