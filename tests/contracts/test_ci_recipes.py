"""The commands of the CI recipes that the documentation shows, run on the first example."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from marks import nightly

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs/examples/ci"
LINE = re.compile(r"(?:- run: |- |sh ')((?:pytest|python -m pytest)\b[^'\n]*)")


@pytest.mark.parametrize(
    ("recipe", "source"),
    [
        *nightly(
            ("github-docker.yml", "container"),
            ("github-local.yml", "local"),
            ("gitlab-local.yml", "local"),
            ("Jenkinsfile", "local"),
        )
    ],
)
def test_the_commands_of_a_recipe_pass_on_the_first_example(
    recipe: str, source: str, tmp_path: Path, require_source: Callable[[str], None]
) -> None:
    require_source(source)
    project = shutil.copytree(ROOT / "docs/examples/first", tmp_path / "first")
    plain = {key: text for key, text in os.environ.items() if not key.startswith("PYTEST_")}
    programs = os.pathsep.join([str(Path(sys.executable).parent), plain.get("PATH", "")])
    text = (RECIPES / recipe).read_text("utf-8")
    commands = LINE.findall(text)

    assert source in re.findall(r"BERTH_SOURCE\W+(\w+)", text)
    assert commands
    for command in commands:
        subprocess.run(
            ["bash", "-euc", command],
            cwd=project,
            env={**plain, "PATH": programs, "BERTH_SOURCE": source},
            check=True,
            timeout=280,
        )
