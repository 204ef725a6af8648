"""Every link from a page of this repository to another leads to what is there."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pytest

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
