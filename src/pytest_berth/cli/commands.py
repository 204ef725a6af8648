"""``pytest-berth``: what can be done outside a test run."""

from __future__ import annotations

import argparse
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
from pytest_berth.errors import BerthError

if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order in which --help lists them: what people use first.
_COMMANDS = (
    *(doctor, install, run_program, up, down, url, env, shell, logs, reset, seed),
    *(ps, prune, completion, sweep, end),
)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with a parser for each command."""
    parser = argparse.ArgumentParser(prog="pytest-berth", description=__doc__)
    version = f"%(prog)s {metadata.version('pytest-berth')}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True)
    for each in _COMMANDS:
        each.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    words, instead = _apart(sys.argv[1:] if arguments is None else arguments)
    given = make_parser().parse_args(words, argparse.Namespace(instead=instead))
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


def _apart(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return what is before ``--`` and what is behind it; `argparse` takes that for an option's."""
    if "--" not in words or words[0] not in {"shell", "run"}:
        return words, ()
    at = words.index("--")
    return words[:at], words[at + 1 :]
