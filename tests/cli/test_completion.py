"""``pytest-berth completion``: what a shell is told."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "pytest_berth.cli", "completion"]


def script(shell: str) -> str:
    """Return what is printed for a shell."""
    return subprocess.run([*COMMAND, shell], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("do", ["doctor", "down"]),
        ("up --na", ["--name"]),
        ("doctor post", ["postgres"]),
        ("prune --older", ["--older-than"]),
        ("down post", []),
        ("nothing --", []),
    ],
)
@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_completes_commands_options_and_services(typed: str, expected: list[str]) -> None:
    words = ["pytest-berth", *typed.split(" ")]
    asked = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _pytest_berth"
    answer = 'printf "%s\\n" "${COMPREPLY[@]}"'

    told = subprocess.run(
        ["bash", "-c", f"{script('bash')}\n{asked}\n{answer}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert sorted(told.stdout.split()) == sorted(expected)


def test_zsh_and_fish_are_told_the_same() -> None:
    assert script("zsh") == f"autoload -U +X bashcompinit && bashcompinit\n{script('bash')}"
    fish = script("fish").splitlines()
    assert "complete -c pytest-berth -n '__fish_seen_subcommand_from up' -l name" in fish
    assert fish[0].startswith("complete -c pytest-berth -n __fish_use_subcommand -a 'doctor ")
