"""Write the parts of Markdown pages that are made: tables of the reference, excerpts of files.

    python tools/write_docs.py

Such a part stands between two comments, so a page reads the same on a code host, on PyPI and in the
built documentation::

    <!-- made: file docs/examples/first/test_users.py -->
    <!-- /made -->

Run it when a setting, a fixture, a marker, a command or a file that is shown has changed; a unit
test tells.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import excerpts
import page_lists
import reference_tables

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/**/*.md", "examples/**/*.md")
PART = re.compile(r"^<!-- made: (?P<call>.+?) -->\n.*?^<!-- /made -->$", re.MULTILINE | re.DOTALL)
MAKERS: dict[str, Callable[..., str]] = {
    "file": excerpts.excerpt,
    "whole": page_lists.whole,
    "pages": page_lists.pages,
    "links": page_lists.links,
    "contents": page_lists.contents,
    "settings": reference_tables.settings,
    "fixtures": reference_tables.fixtures,
    "markers": reference_tables.markers,
    "commands": reference_tables.commands,
    "names": reference_tables.names,
}


def main() -> None:
    """Write all pages."""
    for page in pages():
        text = page.read_text("utf-8")
        if made(text) != text:
            page.write_text(made(text), "utf-8")
            print(page.relative_to(ROOT))


def pages() -> list[Path]:
    """Return the pages of this repository."""
    found = {page for pattern in PAGES for page in ROOT.glob(pattern)}
    return sorted(page for page in found if "_build" not in page.parts)


def made(text: str) -> str:
    """Return the text of a page with its made parts as they should be now."""
    return PART.sub(_part, text)


def _part(found: re.Match[str]) -> str:
    kind, *words = shlex.split(found["call"])
    named = dict(word.split("=", 1) for word in words if re.match(r"[a-z_]+=", word))
    given = [word for word in words if not re.match(r"[a-z_]+=", word)]
    made = MAKERS[kind](*given, **named).strip("\n")
    return f"<!-- made: {found['call']} -->\n{made}\n<!-- /made -->"


if __name__ == "__main__":
    main()
