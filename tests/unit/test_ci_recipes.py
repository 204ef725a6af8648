"""The commands of the CI recipes that the documentation shows are ones that there are."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pytest_berth.cli import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
RECIPES = sorted((ROOT / "docs/examples/ci").iterdir())
PROGRAMS = {"export", "pip", "pytest", "pytest-berth", "python"}


def found_in(value: Any) -> Iterator[str]:
    """Yield what stands under ``run`` and ``script``, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            texts = [inner] if isinstance(inner, str) else inner
            yield from texts if key in {"run", "script"} else found_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from found_in(inner)


def commands_of(recipe: Path) -> list[str]:
    """Return the commands of a recipe, without what the CI puts into them."""
    text = re.sub(r"\$\{\{.*?\}\}", "1", recipe.read_text("utf-8"))
    if recipe.suffix == ".yml":
        return [*found_in(yaml.safe_load(text))]
    if recipe.suffix == ".json":
        return yaml.safe_load(text)["postCreateCommand"].split(" && ")
    return re.findall(r"sh '(.*)'", text)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_commands_of_a_recipe_can_be_read(recipe: Path) -> None:
    found = commands_of(recipe)

    assert any(re.match(r"(python -m )?pytest\b|pytest-berth install", line) for line in found)
    assert {shlex.split(line)[0] for line in found} <= PROGRAMS
    for line in found:
        subprocess.run(["bash", "-n", "-c", line], check=True)
        if line.startswith("pytest-berth "):
            commands.make_parser().parse_args(shlex.split(line)[1:])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_page_shows_the_recipe(recipe: Path) -> None:
    page = ROOT / "docs/how-to/ci.md"

    assert f"<!-- made: file docs/examples/ci/{recipe.name} -->\n" in page.read_text("utf-8")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_a_workflow_of_ours_names_sessions_that_there_are(workflow: Path) -> None:
    chores = (ROOT / "noxfile.py").read_text("utf-8")
    text = workflow.read_text("utf-8")
    sessions = re.findall(r"\bsession: (\w+)", text)
    sessions += [
        name for each in re.findall(r"session: \[(.*)\]", text) for name in each.split(", ")
    ]

    assert yaml.safe_load(text)["jobs"]
    assert [name for name in sessions if f"def {name}(" not in chores] == []
    for line in found_in(yaml.safe_load(re.sub(r"\$\{\{.*?\}\}", "1", text))):
        subprocess.run(["bash", "-n", "-c", line], check=True)
