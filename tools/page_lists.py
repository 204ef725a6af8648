"""What pages have of other pages: lists of links, and the whole text of a file of the root."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

ORDER = {
    "tutorials": "quickstart fastapi-suite django-suite from-nothing order-flow adding-a-service",
    "how-to": "migrating real-suites frameworks asyncio test-styles schema rows factories databases"
    " export fixed-names any-container compose xdist external-server ci engines contracts queries"
    " debugging debugging-services ten-mistakes keep-failed broken-tests run-report",
    "reference": "settings fixtures all-fixtures markers api command-line command services redis"
    " mongodb mysql s3 wiremock elasticsearch kafka rabbitmq limits troubleshooting"
    " messages-settings messages-servers messages-schema messages-isolation messages-command"
    " messages-documents messages-redis messages-kafka messages-wiremock",
    "explanation": "isolation truncation sources kept-servers safety speed beside-the-others"
    " benchmarks benchmarks-at-scale architecture runs clean-slate",
}
"""The parts, and the order of their pages; those that are not named come last."""

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)\s]+\))")
SENTENCE = re.compile(r"[A-Z`].*?[.:](?=\s|$)")
BLOCK = ("#", "|", "`", "<", "-", "*", ">", "1")


def pages(part: str) -> str:
    """Return a list of a part's pages, each with its first sentence."""
    return "\n".join(
        f"- [{_title(path)}]({part}/{path.name}){_about(path)}" for path in _paths(part)
    )


def links(part: str) -> str:
    """Return links to a part's pages, as seen from the repository's root, in one paragraph."""
    shown = [path for path in _paths(part) if not path.name.startswith("messages-")]
    return " ·\n".join(f"[{_title(path)}](docs/{part}/{path.name})" for path in shown)


def contents() -> str:
    """Return what the builder makes the contents from, which it shows beside each page."""
    return "\n\n".join(_contents(part) for part in ORDER)


def whole(name: str) -> str:
    """Return the text of a file of the root, with its links as seen from ``docs``."""
    text = (ROOT / name).read_text("utf-8")
    return LINK.sub(lambda found: found[1] + _from_docs(found[2]), text)


def _from_docs(link: str) -> str:
    return PurePosixPath(os.path.relpath(link, "docs")).as_posix()


def _contents(part: str) -> str:
    listed = (f"{part}/{path.stem}" for path in _paths(part))
    head = ["```{toctree}", ":hidden:", f":caption: {part.replace('-', ' ').capitalize()}", ""]
    return "\n".join([*head, *listed, "```"])


def _paths(part: str) -> list[Path]:
    there = {path.stem: path for path in sorted((DOCS / part).glob("*.md"))}
    return [there[name] for name in dict.fromkeys([*ORDER[part].split(), *there])]


def _title(path: Path) -> str:
    return path.read_text("utf-8").partition("\n")[0].removeprefix("# ")


def _about(path: Path) -> str:
    """Return the first sentence of a page, where it begins with one that needs no other."""
    paragraph = path.read_text("utf-8").split("\n\n")[1]
    sentence = SENTENCE.match(" ".join(paragraph.split()))
    if paragraph.startswith(BLOCK) or sentence is None:
        return ""
    plain = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", sentence[0])
    return f": {plain[:-1]}."
