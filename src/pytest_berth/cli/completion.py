"""``pytest-berth completion``: prints a script that completes commands, options and services."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_berth.services import discovery

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

_BASH = """\
_pytest_berth() {{
    local words="{commands}"
    if [ "$COMP_CWORD" -gt 1 ]; then
        case "${{COMP_WORDS[1]}}" in
{cases}
            *) words="" ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _pytest_berth pytest-berth
"""
# Loads zsh's completion where ~/.zshrc has not; directories of others are passed over.
_ZSH = """\
(( $+functions[compdef] )) || { autoload -U +X compinit && compinit -i; }
autoload -U +X bashcompinit && bashcompinit
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "completion",
        help="print a script that lets the shell complete commands, options and services",
        epilog='examples: eval "$(pytest-berth completion bash)", in ~/.bashrc;'
        " pytest-berth completion fish > ~/.config/fish/completions/pytest-berth.fish",
    )
    command.add_argument("shell", choices=_SCRIPTS)
    command.set_defaults(run=lambda given: print(script(given.shell, commands.choices), end=""))


def script(shell: str, commands: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return the script of a shell.

    Args:
        shell: ``bash``, ``zsh`` or ``fish``.
        commands: The parsers of the commands, by name.
    """
    services = [service.name for service in discovery.find().services]
    words = {}
    for name, parser in commands.items():
        usage = parser.format_usage()
        options = dict.fromkeys(re.findall(r"--[a-z][a-z-]+", parser.format_help()))
        words[name] = [*options, *(services if "service" in usage.replace("--service", "") else ())]
    return _SCRIPTS[shell](words)


def _bash(words: Mapping[str, Sequence[str]]) -> str:
    cases = (f'            {name}) words="{" ".join(some)}" ;;' for name, some in words.items())
    return _BASH.format(commands=" ".join(words), cases="\n".join(cases))


def _fish(words: Mapping[str, Sequence[str]]) -> str:
    lines = [f"complete -c pytest-berth -n __fish_use_subcommand -f -a '{' '.join(words)}'"]
    for name, some in words.items():
        begin = f"complete -c pytest-berth -n '__fish_seen_subcommand_from {name}'"
        lines += [f"{begin} -l {each[2:]}" for each in some if each.startswith("--")]
        plain = [each for each in some if not each.startswith("--")]
        if plain:
            lines.append(f"{begin} -a '{' '.join(plain)}'")
    return "\n".join([*lines, ""])


_SCRIPTS = {"bash": _bash, "zsh": lambda words: _ZSH + _bash(words), "fish": _fish}
