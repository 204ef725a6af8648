"""What a local server process needs: binaries that are installed, or can be downloaded."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

INSTALLED = "/usr/lib/postgresql/*/bin/postgres"
PUBLISHED = "https://repo1.maven.org/maven2/io/zonky/test/postgres/"
TIMEOUT = 10.0


@dataclass(frozen=True)
class Local:
    """Whether the tests of the local source can run, and from which binaries."""

    available: bool
    state: str
    detail: str


def find_local() -> Local:
    """Look for server binaries: installed ones, and the published ones the plugin fetches."""
    majors = [path.parts[-3] for path in sorted(Path("/").glob(INSTALLED[1:]))]
    installed = f"installed: {', '.join(majors)}" if majors else "none installed"
    failure = _unreachable()
    if failure:
        return Local(bool(majors), installed, f"nothing can be downloaded: {failure}")
    return Local(True, installed, f"others are fetched from {PUBLISHED} when a test needs them")


def _unreachable() -> str:
    request = urllib.request.Request(PUBLISHED, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            return ""
    except urllib.error.HTTPError:
        return ""
    except OSError as error:
        return str(error)
