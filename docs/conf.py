"""How the documentation is built: ``nox -s docs``."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth import __doc__ as summary

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "pytest-berth"
release = installed(project)
html_title = f"{project} {release}"
html_short_title = summary
author = "The pytest-berth developers"
copyright = author  # noqa: A001

extensions = ["myst_parser", "sphinx_copybutton", "sphinxext.opengraph"]
exclude_patterns = ["_build", "examples"]
suppress_warnings = ["myst.xref_missing"]  # to files that are no pages: the link test is for these
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nitpicky = True
copybutton_prompt_text = "$ "
# Read the Docs builds each version apart, and tells the address that search engines are to show.
ogp_site_url = os.environ.get(
    "READTHEDOCS_CANONICAL_URL", "https://pytest-berth.readthedocs.io/en/stable/"
)
ogp_image = f"{ogp_site_url}_static/card.png"
ogp_use_first_image = False
ogp_social_cards = {"enable": False}
linkcheck_timeout = 10
linkcheck_ignore = [
    r"https://github\.com/pytest-berth/.*/(security/advisories|issues)/new",  # asks for an account
    r"https://pytest-berth\.readthedocs\.io/.*",  # what is being built
]
html_theme = "furo"  # it has a search, and a dark mode that follows the reader's system
html_baseurl = ogp_site_url
html_static_path = ["_static"]
html_theme_options = {
    "source_repository": "https://github.com/pytest-berth/pytest-berth/",
    "source_branch": "main",
    "source_directory": "docs/",
}


def setup(app: Sphinx) -> None:
    """Show on the page of changes what the next release will have."""
    app.connect("source-read", add_draft)


def add_draft(_: Sphinx, page: str, source: list[str]) -> None:
    """Add what towncrier makes of the fragments in ``news/`` to the page of changes.

    A release has none: its page says nothing of an unreleased version.
    """
    if page == "changelog" and any((ROOT / "news").glob("*.md")):
        command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "Unreleased"]
        made = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        source[0] += "\n" + made.stdout.replace("](docs/", "](").replace(
            "](CONTRIBUTING", "](contributing"
        )
