"""A Python prompt with a client of a server: what `pytest-berth shell` opens without a program."""

from __future__ import annotations

import code
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pytest_berth.cli.lines import Lines
from pytest_berth.debug_log import ignoring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_berth.api import Server, Service


def interact(
    service: Service, server: Server, values: Mapping[str, str], missing: Sequence[str] = ()
) -> int:
    """Read and run lines of Python until their end, and return an exit status.

    Args:
        service: The service.
        server: Its server.
        values: Variables of the prompt: the address, and the values of the placeholders.
        missing: The program that would have been run, were it installed.
    """
    if missing:
        Lines().note(f"{missing[0]} is not installed: this is a Python prompt")
    try:
        clients = service.backend.prompt(values)
    except Exception as error:  # told: the values are there all the same
        Lines().note(f"without a client: {type(error).__name__}: {error}")
        clients = {}
    with ExitStack() as stack:
        for client in clients.values():
            stack.callback(_close, client)
        _read_lines(_banner(server, clients, values), {**values, **clients})
    return 0


def _banner(server: Server, clients: Mapping[str, object], values: Mapping[str, str]) -> str:
    lines = [f"{server.service} {server.version} at {server.host}:{server.port}"]
    for name, client in clients.items():
        kind = type(client)
        lines.append(f"{name}: {kind.__module__.partition('.')[0]}.{kind.__qualname__}")
    return "\n".join([*lines, f"as text: {', '.join(values)}"])


def _read_lines(banner: str, variables: Mapping[str, object]) -> None:
    local = dict(variables)
    with ignoring(ImportError, why="there is no readline: lines cannot be edited"):
        import readline
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(local).complete)
        readline.parse_and_bind("tab: complete")
    code.interact(banner, local=local, exitmsg="")


def _close(client: object) -> None:
    close = getattr(client, "close", None)
    if close:
        with ignoring(Exception, why=f"{type(client).__name__} is closed, or lost"):
            close()
