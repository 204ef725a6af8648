"""Run pytest on the first example and draw what it prints as ``docs/pictures/a-first-run.svg``.

    python tools/picture_run.py

Nothing is made up: the picture has the words, the colours and the times of the fastest of `ROUNDS`
runs, as whatever else the machine does makes others slower.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs/examples/first"
PICTURE = ROOT / "docs/pictures/a-first-run.svg"
WIDTH = 112
ROUNDS = 5


def main() -> None:
    """Run, draw and write."""
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print(Text.from_markup("[bold green]$[/] [bold]pytest -v --no-header[/]"))
    console.print(Text.from_ansi(min((run() for _ in range(ROUNDS)), key=duration)))
    svg = console.export_svg(title="docs/examples/first", theme=MONOKAI, unique_id="run")
    PICTURE.write_text(svg, encoding="utf-8")
    print(PICTURE.relative_to(ROOT))


def run() -> str:
    """Return what pytest prints, with its colours."""
    plain = {key: text for key, text in os.environ.items() if not key.startswith("PYTEST_")}
    arguments = ("-v", "--no-header", "--color=yes", "-p", "no:randomly", "-p", "no:cacheprovider")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=EXAMPLE,
        env={**plain, "COLUMNS": str(WIDTH), "CI": "", "NO_COLOR": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return result.stdout


def duration(output: str) -> float:
    """Return the seconds that pytest tells at the end of what it prints."""
    (*_, last) = re.finditer(r"in ([\d.]+)s", output)
    return float(last[1])


if __name__ == "__main__":
    main()
