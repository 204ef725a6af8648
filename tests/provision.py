"""Provide what the tests need from this machine, and say what could not be had.

Run ``python tests/provision.py [image ...]`` with any Python from 3.10 on; nothing has to be
installed. It may be run again at any time: what is there already is left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provisioning.engine import Engine, can_install, get_engine, why_not_installed
from provisioning.images import Image, get_images
from provisioning.local import Local, find_local
from provisioning.packages import PACKAGES, Program, get_program
from provisioning.recipes import Recipe, read_recipes

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Provision:
    """What is available, and what it amounts to."""

    engine: Engine
    images: list[Image]
    local: Local
    programs: list[Program]

    @property
    def sources(self) -> list[str]:
        """The sources whose tests can run here; an external server is one of the others' kind."""
        container = self.engine.answers and all(i.origin != "missing" for i in self.images)
        own = ["container"] * container + ["local"] * self.local.available
        return own + ["external"] * bool(own)

    @property
    def failed(self) -> bool:
        """Whether this machine is one on which container tests should have been possible."""
        return "container" not in self.sources and (self.engine.answers or can_install())


def main() -> int:
    """Provision, print the table, write the JSON; return 1 if a machine of CI fell short."""
    recipes = read_recipes()
    options = _parse_arguments(recipes)
    wanted = [recipes[name] for name in options.images] or [r for r in recipes.values() if r.wanted]
    result = _provision(wanted)
    print("\n".join(_table(result)), flush=True)
    if options.json:
        document = {**asdict(result), "sources": result.sources}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if result.failed and _in_ci():
        print("CI is set, and container tests cannot run on a machine that should run them.")
        return 1
    return 0


def _parse_arguments(recipes: dict[str, Recipe]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("images", nargs="*", help="the images; by default those of the suite")
    options = parser.parse_args()
    if unknown := [name for name in options.images if name not in recipes]:
        parser.error(f"no stand-in for {', '.join(unknown)}; known: {', '.join(recipes)}")
    return options


def _provision(wanted: Sequence[Recipe]) -> Provision:
    engine = get_engine()
    if not engine.answers and not can_install():
        engine = replace(engine, detail=f"{why_not_installed()} ({engine.detail})")
    images = get_images(wanted, engine) if engine.answers else []
    programs = [get_program(name, package) for name, package in PACKAGES.items()]
    return Provision(engine, images, find_local(), programs)


def _table(result: Provision) -> list[str]:
    engine = result.engine
    state = f"{engine.version} ({engine.arch})" if engine.answers else "none"
    rows = [("container engine", state, engine.detail)]
    rows += [(image.name, image.origin, image.detail) for image in result.images]
    rows += [("local PostgreSQL", result.local.state, result.local.detail)]
    rows += [(f"local {each.name}", each.path or "none", each.detail) for each in result.programs]
    rows += [("tests that can run", ", ".join(["unit", "plugin", *result.sources]), "")]
    if "container" not in result.sources:
        rows += [("CONTAINER TESTS", "cannot run here", "for the reason above")]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    margin = "\n" + " " * (sum(widths) + 4)
    lines = (f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)
    return [line.replace("\n", margin) for line in lines]


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


if __name__ == "__main__":
    sys.exit(main())
