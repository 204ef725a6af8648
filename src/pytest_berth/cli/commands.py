"""``pytest-berth``: what can be done outside a test run."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from pytest_berth.cli import (
    completion,
    doctor,
    down,
    end,
    env,
    install,
    logs,
    prune,
    ps,
    reset,
    run_program,
    seed,
    shell,
    sweep,
    up,
    url,
)
from pytest_berth.errors import BerthError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# In the order in which --help lists them: what people use first.
_COMMANDS = (
    *(doctor, install, run_program, up, down, url, env, shell, logs, reset, seed),
    *(ps, prune, completion, sweep, end),
)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with a parser for each command."""
    parser = argparse.ArgumentParser(
        prog="pytest-berth",
        description="The servers of a project's tests, outside of tests: for development, for"
        " scripts, and to find out what is wrong.",
        epilog="examples: pytest-berth doctor; pytest-berth run -- uvicorn app:app --reload;"
        " pytest-berth up --help",
    )
    version = f"%(prog)s {metadata.version('pytest-berth')}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="command")
    for each in _COMMANDS:
        each.add(commands)
    parser.set_defaults(commands=commands.choices)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    words, instead = _apart(sys.argv[1:] if arguments is None else arguments)
    given = _parsed(words, instead)
    try:
        given.run(given)
    except BerthError as error:
        print(f"berth: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # another one would end in a traceback
        sys.exit(130)  # as shells tell of it
    except BrokenPipeError:
        sys.exit(1)  # who reads has seen enough


def _parsed(words: Sequence[str], instead: Sequence[str]) -> argparse.Namespace:
    """Return the arguments; for a name that is not known, the nearest one is told."""
    parser = make_parser()
    commands = _commands_of(parser)
    word = next(iter(words), "")
    if not words:
        parser.print_help(sys.stderr)
        sys.exit(2)
    if word and not word.startswith("-") and word not in commands:
        parser.error(f"there is no command {word!r}: {nearest(word, commands)}")
    given, unknown = parser.parse_known_args(words, argparse.Namespace(instead=instead))
    if unknown:
        command = commands.get(word, parser)
        flag = unknown[0].partition("=")[0]
        # Help tells of other commands' options, too.
        known = ["--help", *re.findall(r"--[a-z][a-z-]+", command.format_usage())]
        hint = f": {nearest(flag, known)}" if flag.startswith("-") else ""
        command.error(f"{unknown[0]!r} is not known{hint}")
    return given


def _commands_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    found = parser.get_default("commands")
    assert isinstance(found, dict)
    return found


def _apart(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return what is before ``--`` and what is behind it; `argparse` takes that for an option's."""
    if "--" not in words or words[0] not in {"shell", "run"}:
        return words, ()
    at = words.index("--")
    return words[:at], words[at + 1 :]
