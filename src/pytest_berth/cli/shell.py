"""``pytest-berth shell``: opens a shell in a development server, or in what a failed test left.

The password is handed to the program in its environment: it is neither printed nor an argument.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.api import Client
from pytest_berth.cli import prompt
from pytest_berth.cli.arguments import add_name
from pytest_berth.debug_log import ignoring
from pytest_berth.errors import NotKeptError
from pytest_berth.reporting import kept_summary
from pytest_berth.run import heartbeat, registry
from pytest_berth.run.registry import OWNER
from pytest_berth.run.reuse import kept_states
from pytest_berth.services import discovery
from pytest_berth.standalone import development, project

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from pytest_berth.api import Server, Service
    from pytest_berth.run.reuse.kept_states import KeptState


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "shell",
        help="open a shell in a development server, or in what stays of a failed test",
        epilog="examples: pytest-berth shell postgres; pytest-berth shell postgres -- pg_dump;"
        " pytest-berth shell --failed test_total",
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--failed",
        metavar="NODEID",
        nargs="?",
        const="",
        help="the test, or a part of its id; left out, the only one that is kept",
    )
    where.add_argument("--peek", action="store_true", help="in a test that a debugger waits in")
    command.add_argument("--service", default="", help="which, by service or by name, of several")
    command.add_argument("--print", action="store_true", help="only print the command")
    command.add_argument(
        "command",
        nargs="*",
        help="a service, where neither --failed nor --peek is given; behind `--`: a command to run"
        " there in the client's place",
    )
    add_name(command)
    command.set_defaults(run=_run)


def open_failed(
    part: str, *, service: str = "", prints: bool = False, instead: Sequence[str] = ()
) -> int:
    """Open a shell in what stays of the one failed test whose id has a part, and return its status.

    Args:
        part: The test's id, its beginning, or another part of it; all are meant when empty.
        service: Which service, or what it is called there, where the test had several.
        prints: Whether the command is only printed, with the names of the environment it needs.
        instead: A command that is run in the place of the service's client, with its environment.

    Raises:
        NotKeptError: There is none, or there are several.
    """
    state = find(kept_states.all_of_user(), part, service)
    return _open(state.reached, state.name, prints=prints, instead=instead)


def open_development(
    word: str, name: str, *, prints: bool = False, instead: Sequence[str] = ()
) -> int:
    """Open a shell in a development server of the working directory's project.

    Where the service's client is not installed, or it has none, that is a Python prompt.

    Args:
        word: The service.
        name: Which development servers.
        prints: As for `open_failed`.
        instead: As for `open_failed`.

    Returns:
        The exit status.

    Raises:
        DevelopmentError: None are up, or they have no such service.
        NotKeptError: The command that was given was not found.
    """
    found = project.find()
    if not word:
        raise NotKeptError(
            "nothing is named to open a shell in.",
            why="neither a service, nor --failed or --peek",
            remedy="pytest-berth shell postgres; pytest-berth shell --failed",
        )
    (service,) = found.named([word])
    there = development.find(found.root, name)
    told, server = there.told(service), there.server(service)
    names = service.placeholders_for(found.settings) & there.values.keys()
    values = {name: there.values[name] for name in sorted(names)}
    client = service.backend.client(server, told["shell"]) if told["shell"] else Client((), {})
    given = {name.upper(): text for name, text in values.items()}
    if instead or (client.command and (prints or _program(client, server))):
        further = {**there.environment, **given}
        return _run_client(client, server, prints=prints, instead=instead, further=further)
    if prints:
        print(f"# no client's program is there: a Python prompt with {', '.join(['url', *values])}")
        return 0
    return prompt.interact(service, server, {"url": told["url"], **values}, client.command[:1])


def _open(server: Server, name: str, *, prints: bool, instead: Sequence[str]) -> int:
    client = _service(server).backend.client(server, name)
    return _run_client(client, server, prints=prints, instead=instead)


def _run_client(
    client: Client,
    server: Server,
    *,
    prints: bool,
    instead: Sequence[str],
    further: Mapping[str, str] | None = None,
) -> int:
    """Run the service's client, or a command in its place, and return its status.

    Args:
        client: The client.
        server: Its server.
        prints: Whether it is only printed.
        instead: A command that is run in its place.
        further: What is set in the environment besides what the client needs.

    Raises:
        NotKeptError: It is not installed.
    """
    if instead:
        client = client._replace(command=instead)
    if prints:
        print(shlex.join(client.command))
        if client.environment:
            print(f"# needs in its environment: {', '.join(client.environment)}")
        return 0
    program = _program(client, server)
    if program is None and instead:
        raise NotKeptError(
            f"the given command {client.command[0]!r} was not found.",
            why="it is neither on the PATH nor beside the server's program",
            remedy="install it, or give its path behind `--`",
        )
    if program is None:
        raise NotKeptError(
            f"{client.command[0]} is not installed.",
            why="it is neither on the PATH nor beside the server's program",
            remedy=client.instead,
        )
    command = [program, *client.command[1:]]
    environment = {**os.environ, **(further or {}), **client.environment}
    with subprocess.Popen(command, env=environment) as process:
        while True:
            with ignoring(KeyboardInterrupt, why="it is the program's, which may go on"):
                return process.wait()


def open_peek(service: str = "", *, prints: bool = False, instead: Sequence[str] = ()) -> int:
    """Open a shell in what a test has done in which a debugger waits, and return its status.

    Args:
        service: As for `open_failed`.
        prints: As for `open_failed`.
        instead: As for `open_failed`.

    Raises:
        NotKeptError: No test of this user's waits.
    """
    for directory in reversed(list(registry.directories(Path(tempfile.gettempdir())))):
        if registry.is_directory(directory) and not heartbeat.has_ended(directory / OWNER):
            noted = registry.Registry(directory)
            for path in noted.peeks():
                told = json.loads(path.read_text("utf-8"))
                server = noted.read("ready", told["server"])
                if server and service in {"", server.service}:
                    print(f"{told['test']}, as it was when its debugger opened", file=sys.stderr)
                    return _open(server, told["name"], prints=prints, instead=instead)
    raise NotKeptError(
        "no test waits in a debugger.",
        why="no run of this user has stopped at a breakpoint() or with --pdb",
        remedy="pytest --pdb",
    )


def find(states: Sequence[KeptState], part: str, service: str = "") -> KeptState:
    """Return what stays of the newest failure of the one test that is meant.

    Raises:
        NotKeptError: Nothing is kept of such a test, or several are meant.
    """
    of_any = [each for each in states if part in each.nodeid]
    matching = [each for each in of_any if service in {"", each.server.service, each.name}]
    exact = [each for each in matching if each.nodeid == part]
    begun = [each for each in matching if each.nodeid.startswith(part)]
    found = exact or begun or matching
    wanted = f"a failed test {part!r}" if part else "a failed test"
    if of_any and not found:
        only = ", ".join(sorted({each.server.service for each in of_any}))
        raise NotKeptError(
            f"of {wanted}, {service} is not kept: {only} only.",
            why=_listed(of_any),
            remedy=f"leave out --service {service}, or give one that is listed",
        )
    if not found:
        raise NotKeptError(
            f"nothing is kept of {wanted}.",
            why=_listed(states) or "no run has kept anything, or its time is over",
            remedy="pytest --berth-keep-failed keeps what fails, for an hour"
            " or as long as --berth-keep says",
        )
    # Of a test that has failed in several runs the last one is meant.
    last = found[-1]
    meant = [each for each in found if (each.nodeid, each.run_id) == (last.nodeid, last.run_id)]
    if len({each.nodeid for each in found}) > 1 or len(meant) > 1:
        more = "more of the test's id" if part else "a test, pytest-berth shell --failed NODEID"
        raise NotKeptError(
            f"{repr(part) if part else '--failed without a test'} means several.",
            why=_listed(found if len({each.nodeid for each in found}) > 1 else meant),
            remedy=f"give {more}, or which it is: --service postgres, --service {last.name}",
        )
    return last


def _listed(states: Sequence[KeptState]) -> str:
    return "\n".join(
        f"{each.nodeid}  {each.server.service} {each.name}  until {kept_summary.until(each)}"
        for each in states
    )


def _service(server: Server) -> Service:
    services, _ = discovery.find()
    (found,) = (each for each in services if each.name == server.service)
    return found


def _program(client: Client, server: Server) -> str | None:
    """Return the path of a client: from the PATH, else from beside the server's own program."""
    import psutil

    found = shutil.which(client.command[0])
    if found or server.source != "local" or "pid" not in server.handle:
        return found
    with ignoring(psutil.Error, why="the server's process is gone"):
        place = Path(psutil.Process(server.handle["pid"]).exe()).parent
        return shutil.which(client.command[0], path=str(place))
    return None


def main(part: str | None, service: str, *, prints: bool, instead: Sequence[str]) -> None:
    """Run the command, for a failed test or, without one, for a peek; exit with its status."""
    try:
        if part is None:
            sys.exit(open_peek(service, prints=prints, instead=instead))
        sys.exit(open_failed(part, service=service, prints=prints, instead=instead))
    except NotKeptError as error:
        print(f"berth: {error}", file=sys.stderr)
        sys.exit(1)


def _run(given: argparse.Namespace) -> None:
    if given.failed is None and not given.peek:
        words = [each for each in (given.service, *given.command) if each]
        instead = [*words[1:], *given.instead]
        word = words[0] if words else ""
        sys.exit(open_development(word, given.name, prints=given.print, instead=instead))
    instead = [*given.command, *given.instead]
    main(given.failed, given.service, prints=given.print, instead=instead)
