"""The sections of a failing test's report, as a run prints them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_TITLE = re.compile(r"-+ (.+?) -+")


def sections(result: pytest.RunResult, test: str) -> dict[str, str]:
    """Return the sections of a failing test's report, by their titles."""
    shown = re.split(rf"\n_+ {test} _+\n", result.stdout.str())[1]
    found: dict[str, str] = {}
    title = ""
    for line in re.split(r"\n(?:____|====)", shown)[0].splitlines():
        if match := _TITLE.fullmatch(line):
            title = match[1]
        elif title:
            found[title] = f"{found[title]}\n{line}" if title in found else line
    return found


def did(result: pytest.RunResult, test: str) -> list[str]:
    """Return what a failing test did, without durations, and with single blanks."""
    (text,) = (each for title, each in sections(result, test).items() if title.endswith(" did"))
    return [" ".join(re.sub(r"\d+\.\d ms", "", line).split()) for line in text.splitlines()]
