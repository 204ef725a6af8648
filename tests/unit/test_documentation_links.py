"""Every link from a page of this repository to another leads to what is there."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s]+)\)")
CODE = re.compile(r"^(```+).*?^\1$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    """Return the page's path as seen from the repository's root."""
    return page.relative_to(ROOT).as_posix()


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors that a code host and Sphinx give the page's headings."""
    text = CODE.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_to_a_heading(page: Path) -> None:
    broken = []
    for link in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        target = Path(os.path.normpath(page.parent / path)) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert not broken, f"{name_of(page)} has links that lead nowhere: {broken}"


def test_links_of_news_are_as_seen_from_the_root() -> None:
    texts = [path.read_text("utf-8") for path in ROOT.glob("news/*.md")]
    links = {link.partition("#")[0] for text in texts for link in LINK.findall(text)}

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_on_pypi_every_link_of_the_readme_is_absolute() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]
    text = (ROOT / "README.md").read_text("utf-8")
    for each in settings["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)

    assert LINK.findall(CODE.sub("", text)) == []
    assert "![A whole run: the medians as bars](https://raw.githubusercontent.com/" in text
    assert "](https://github.com/pytest-berth/pytest-berth/blob/main/docs/reference/" in text
