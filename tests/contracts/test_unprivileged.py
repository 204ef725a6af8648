"""The plugin as a user without privileges runs it; where root runs the suite, as ``nobody``."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from marks import nightly
from pytest_berth.sources.artifact_cache import cache_directory
from pytest_berth.sources.os_account import is_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER = "nobody"
# Reading is allowed everywhere: the interpreter may be installed in root's home.
DROP = ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups"]
DROP += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
TEST = """
    import os, pathlib, psutil
    from sqlalchemy import text

    def test_server(pg_session, pg_server):
        pg_session.execute(text("CREATE TABLE users (id int)"))
        process = psutil.Process(pg_server.server.handle["pid"])
        assert process.uids().effective == os.getuid() != 0
        directory = pathlib.Path(pg_server.server.handle["directory"])
        assert directory.stat().st_uid == os.getuid()
        assert directory.stat().st_mode & 0o777 == 0o700
        print("served from", directory)

    def test_commits(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(text("SELECT 1"))
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Give the user a home with a project in it."""
    if not is_root():
        pytest.skip("the suite itself runs without privileges")
    if not shutil.which("setpriv"):
        pytest.skip("there is no setpriv to drop privileges with")
    with tempfile.TemporaryDirectory(prefix="berth-test-") as name:
        path = Path(name)
        for directory in (path, path / "tmp"):
            directory.mkdir(exist_ok=True)
            os.chown(directory, pwd.getpwnam(USER).pw_uid, -1)
        (path / "pytest.ini").write_text("[pytest]\n")
        (path / "test_all.py").write_text(textwrap.dedent(TEST))
        yield path


@pytest.mark.parametrize("source", ["local", *nightly("auto")])
def test_an_unprivileged_user_has_a_server_of_its_own(
    home: Path, require_source: Callable[[str], None], source: str
) -> None:
    require_source("local")
    result = _pytest(home, "-rP", f"--berth-source={source}", "-o", "berth_pg_version=17")
    assert "2 passed" in result.stdout, result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("served from")]
    directory = Path(line.split()[-1])
    assert directory.is_relative_to(home / "tmp")
    assert not directory.exists()
    assert not list((home / "tmp").glob("berth-[!p]*"))


def test_an_engine_that_may_not_be_used_is_no_engine(
    home: Path, require_source: Callable[[str], None]
) -> None:
    for name in ("container", "local"):
        require_source(name)
    result = _pytest(home, "--berth-source=container")
    assert "2 errors" in result.stdout, result.stdout
    assert "no container engine answers." in result.stdout
    assert "Permission denied" in result.stdout
    # The reason is enough: what stands around it would repeat it many times.
    assert result.stdout.count("Permission denied") <= 3


def _pytest(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "PATH": os.environ["PATH"],
        "BERTH_CACHE": str(cache_directory()),
    }
    options = ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:asyncio"]
    return subprocess.run(
        [*DROP, "--", sys.executable, "-B", "-m", "pytest", *options, *arguments],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
