"""A local distribution, put together from OpenSearch's own jars, and projects that use it."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

import temporary
from provisioning.artifacts import save
from provisioning.recipes import read_recipes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Project

IMAGE = "opensearchproject/opensearch:3"


@pytest.fixture(scope="session")
def distribution() -> Iterator[Path]:
    """A directory with bin, lib and classes, as an unpacked archive has them, under both names.

    It is not in the user's cache: where the suite is root's, servers run as another user.
    """
    if not shutil.which("javac"):
        pytest.skip("no javac on the PATH: the stand-in's launcher cannot be compiled")
    recipe = read_recipes()[IMAGE]
    with temporary.home() as home:
        home.chmod(0o755)
        for name in ("bin", "lib", "config"):
            (home / name).mkdir()
        try:
            with ThreadPoolExecutor(4) as pool:
                put = partial(save, directory=home / "lib")
                jars = list(pool.map(put, recipe.artifacts["amd64"]))
        except OSError as error:
            pytest.skip(f"OpenSearch's jars cannot be had: {error}")
        command = ["javac", "-cp", f"{home}/lib/*", "-d", f"{home}/classes"]
        subprocess.run([*command, str(recipe.folder / "Node.java")], check=True, timeout=300)
        (server,) = (jar for jar in jars if jar.name.startswith("opensearch-2"))
        # As the archive of Elasticsearch has it; the version is read from its name.
        (home / "lib" / server.name.replace("open", "elastic", 1)).touch()
        for name in ("opensearch", "elasticsearch"):
            shutil.copy(recipe.folder / "start", home / "bin" / name)
            (home / "bin" / name).chmod(0o755)
        yield home


@pytest.fixture(scope="session", autouse=True)
def _installed(distribution: Path) -> Iterator[None]:
    """Let it be found as an installed one is."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("OPENSEARCH_HOME", "ES_HOME"):
            patch.setenv(variable, str(distribution))
        yield


@pytest.fixture
def local(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose servers are local processes."""
    monkeypatch.setenv("BERTH_SOURCE", "local")
    return project
