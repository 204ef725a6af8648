"""``pytest-berth completion``: what a shell is told."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("do", ["doctor", "down"]),
        ("up --na", ["--name"]),
        ("doctor post", ["postgres"]),
        ("prune --older", ["--older-than"]),
    ],
)
@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_the_same(typed: str, expected: list[str], tmp_path: Path) -> None:
    asked = f"{script('fish')}\ncomplete -C 'pytest-berth {typed}'"

    told = subprocess.run(
        ["fish", "--no-config", "-c", asked],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert sorted(line.split("\t")[0] for line in told.stdout.splitlines()) == sorted(expected)
    assert told.stderr == ""


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes_at_the_tab_key(tmp_path: Path) -> None:
    # A prompt that says when it can be typed at, and a command that says what it was given.
    (tmp_path / "completion").write_text(script("zsh"))
    lines = [
        f"source {tmp_path}/completion",
        "pytest-berth() { print -r -- GIVEN:$* }",
        "unsetopt zle_bracketed_paste prompt_sp prompt_cr; PS1=READY:",
    ]
    (tmp_path / ".zshrc").write_text("\n".join([*lines, ""]))

    told = _type(
        ["zsh", "-i"], ["pytest-berth prune --old\t 1d\n", "pytest-berth logs redi\t\n"], tmp_path
    )

    assert "GIVEN:prune --older-than 1d" in told
    assert "GIVEN:logs redis" in told
    assert "not found" not in told


def _type(shell: list[str], lines: list[str], home: Path) -> str:
    """Type lines into a shell at a terminal, one at each prompt, and return what is seen there."""
    import pty

    seen = ""
    pid, terminal = pty.fork()
    if not pid:
        environment = {**os.environ, "HOME": str(home), "ZDOTDIR": str(home), "TERM": "dumb"}
        os.execvpe(shell[0], shell, environment)
    try:
        for count, line in enumerate([*lines, "exit\n"], 1):
            while seen.count("READY:") < count:
                seen += os.read(terminal, 4096).decode(errors="replace")
            os.write(terminal, line.encode())
        with contextlib.suppress(OSError):  # how Linux tells of the end
            while told := os.read(terminal, 4096):
                seen += told.decode(errors="replace")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return seen
