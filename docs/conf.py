"""How the documentation is built: ``nox -s docs``."""

from __future__ import annotations

from pytest_berth import __doc__ as summary

project = "pytest-berth"
html_title = project
html_short_title = summary
author = "The pytest-berth developers"
copyright = author  # noqa: A001

extensions = ["myst_parser"]
exclude_patterns = ["_build", "examples"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nitpicky = True
html_theme = "furo"
