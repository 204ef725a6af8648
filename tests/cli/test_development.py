"""``up``, ``run`` and what goes with them: servers for development, apart from those of tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from conftest import TIMEOUT
from marks import nightly
from pytest_berth import wait_for
from pytest_berth.run.registry import is_known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Project

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")

EXPORT = ("berth_export =", "    DATABASE_URL = {pg_dsn}", "    MODE = it's here")
TELL = """
    import os, psycopg, sys
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO users (email) VALUES (%s)", [os.urandom(4).hex()])
        print(connection.execute("SELECT count(*) FROM users").fetchone()[0], flush=True)
    if "wait" in sys.argv:
        sys.stdin.read()
    sys.exit(7)
"""
TEST = """
    def test_a_clean_slate(pg_connection):
        assert pg_connection.exec_driver_sql("SELECT count(*) FROM users").scalar() == 0
"""


@dataclass
class Place:
    """A project and a temporary directory that are used by nobody else."""

    root: Path
    temporary: Path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the command in the project's directory."""
        return subprocess.Popen(
            [sys.executable, "-m", "pytest_berth.cli", *arguments],
            cwd=self.root,
            env={**os.environ, "TMPDIR": str(self.temporary), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *arguments: str, status: int = 0, **environment: str) -> str:
        """Run it to its end, and return what it has printed; what it told where it has failed."""
        process = self.start(*arguments, **environment)
        printed, told = process.communicate(timeout=TIMEOUT)
        assert process.returncode == status, printed + told
        assert "Traceback" not in told
        return told if status else printed

    def directories(self) -> list[Path]:
        """Return the directories of runs."""
        return [owner.parent for owner in self.temporary.glob("berth-*/owner.json")]

    def leftovers(self) -> list[str]:
        """Return the directories and processes of runs."""
        lines = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
        return [*map(str, self.directories()), *(e for e in lines if str(self.temporary) in e)]

    def require_nothing_left(self) -> None:
        """Wait until nothing is left."""
        wait_for(lambda: not self.leftovers(), 60, message="the end of all that was started")


@pytest.fixture
def place(project: Project) -> Iterator[Place]:
    # Not below pytest's own: a server that root starts as another user must get there.
    path = Path(tempfile.mkdtemp(prefix="development-"))
    path.chmod(0o755)
    project.models(*EXPORT, "berth_source = local")
    project.write(tell=TELL, test_it=TEST)
    yield Place(project.root, path)
    for directory in path.glob("berth-*/owner.json"):
        pid = json.loads(directory.read_text())[0]
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not [*path.glob("berth-*/owner.json")], 60, message="the supervisors' end")
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("source", ["local", *nightly("container")])
def test_servers_are_up_beside_tests_and_other_projects_until_they_are_ended(
    source: str,
    place: Place,
    project: Project,
    require_source: Callable[[str], None],
    tmp_path: Path,
) -> None:
    require_source(source)
    project.models(*EXPORT, f"berth_source = {source}")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    elsewhere = Place(tmp_path, place.temporary)

    up = place.command("up")
    (directory,) = place.directories()
    environment = json.loads(place.command("env", "--json"))
    assert up.startswith("postgres  postgresql+psycopg://berth:***@127.0.0.1:")
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("INSERT INTO users (email) VALUES ('stays')")

        # Again, and one at a time: the same servers.
        assert place.command("up", "pg") == up
        # A run of tests, with servers that stay for other runs of tests, is apart.
        project.run("--berth-keep=1h", TMPDIR=str(place.temporary)).assert_outcomes(passed=1)
        project.run("--berth-stop", TMPDIR=str(place.temporary))
        place.command("prune", "--yes", directory.name.split("-")[1])
        assert connection.execute("SELECT email FROM users").fetchall() == [("stays",)]

        # Another project has none, and ends none.
        told = elsewhere.command("down", status=1)
        assert "no development servers are up for this project.\n" in told
        assert str(tmp_path) in told
        assert elsewhere.command("ps").startswith(f"{directory.name.split('-')[1]}  up       pos")
        assert "do not have redis." in place.command("up", "redis", status=1)

        (place.root / "demo.sql").write_text("INSERT INTO users (email) VALUES ('seeded')")
        place.command("seed", "demo.sql")
        seeded = connection.execute("SELECT email FROM users ORDER BY 1").fetchall()
        assert seeded == [("seeded",), ("stays",)]
        (place.root / "broken.sql").write_text("INSERT INTO nothing VALUES (1)")
        assert 'relation "nothing" does not exist' in place.command("seed", "broken.sql", status=1)
        assert "broken2.sql" in place.command("seed", "broken2.sql", status=1)

        place.command("reset")
        assert connection.execute("SELECT email FROM users").fetchall() == []
    assert "export MODE='it'\"'\"'s here'\n" in place.command("env")
    assert "set -gx MODE 'it\\'s here'\n" in place.command("env", "--fish")
    assert "$Env:MODE = 'it''s here'\n" in place.command("env", "--powershell")
    assert 'MODE="it\'s here"\n' in place.command("env", "--dotenv")
    assert place.command("url", "pg_dsn").strip() == environment["DATABASE_URL"]
    assert place.command("url", "postgres").startswith("postgresql+psycopg://")
    assert place.command("url", "{pg_url:asyncpg}").startswith("postgresql+asyncpg://")
    assert "did you mean 'pg_dsn'?" in place.command("url", "pg_dns", status=1)
    assert "did you mean 'postgres'?" in place.command("url", "psotgres", status=1)
    assert "takes one, the driver's name" in place.command("url", "pg_port:smtp", status=1)
    assert "ready to accept connections" in place.command("logs", "pg")
    asked = "import psycopg; print(psycopg.connect().info.dbname)"
    assert place.command("shell", "pg", "--", sys.executable, "-c", asked).startswith("berth_")
    assert all(is_known(path.name) for path in directory.iterdir())

    # What the project's file says by now is what programs are told.
    project.models("berth_export = DSN = {pg_url:asyncpg}", f"berth_source = {source}")
    assert place.command("up") == up
    assert place.command("env").startswith("export DSN=postgresql+asyncpg://")
    told = (
        "--",
        sys.executable,
        "-c",
        "import os; print(*(n in os.environ for n in ('DSN', 'MODE')))",
    )
    assert place.command("run", *told) == "True False\n"
    project.models("berth_export = DSN = {pg_urll}", f"berth_source = {source}")
    assert "did you mean 'pg_url'?" in place.command("env", status=1)

    place.command("down")

    assert not directory.exists()
    place.require_nothing_left()
    assert "do:  pytest-berth up\n" in place.command("env", status=1)


def test_two_at_once_start_one(place: Place, require_source: Callable[[str], None]) -> None:
    require_source("local")

    both = [place.start("up"), place.start("up")]
    first, second = (each.communicate(timeout=TIMEOUT)[0] for each in both)

    assert first == second != ""
    assert len(place.directories()) == 1
    # Under another name there are others.
    assert place.command("up", "--name", "demo") not in {first, ""}
    assert len(place.directories()) == 2
    place.command("down", "--name", "demo")
    assert place.command("up") == first
    place.command("down")


def test_a_program_has_environment_status_and_the_database_of_the_one_before(
    place: Place, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    tell = ("--", sys.executable, "tell.py")

    waiting = place.start("run", *tell, "wait")
    assert waiting.stdout is not None
    line = waiting.stdout.readline()
    assert line == "1\n", waiting.stderr.read()
    # Another one beside it uses the same servers, which stay for the one that waits.
    beside = place.start("run", *tell)
    assert beside.communicate(timeout=TIMEOUT)[0] == "2\n"
    assert beside.returncode == 7
    assert "in use" in place.command("run", "--fresh", *tell, status=1)
    waiting.send_signal(signal.SIGTERM)
    waiting.communicate(timeout=TIMEOUT)
    assert waiting.returncode == -signal.SIGTERM
    place.require_nothing_left()

    # What is kept, is there for the next one; a fresh one is not.
    assert place.start("run", "--keep", "1h", *tell).communicate(timeout=TIMEOUT)[0] == "1\n"
    assert place.start("run", *tell).communicate(timeout=TIMEOUT)[0] == "2\n"
    assert place.start("run", "--fresh", *tell).communicate(timeout=TIMEOUT)[0] == "1\n"
    place.require_nothing_left()


@pytest.mark.parametrize("killed", ["program", "supervisor"])
def test_killed_with_sigkill_nothing_is_left(
    killed: str, place: Place, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    process = place.start("run", "--", sys.executable, "tell.py", "wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    (directory,) = place.directories()
    supervisor = json.loads((directory / "owner.json").read_text())[0]

    if killed == "supervisor":
        os.kill(supervisor, signal.SIGKILL)
        wait_for(lambda: not _is_listening(directory), 60, message="the server's end")
    process.kill()
    process.communicate(timeout=TIMEOUT)

    place.require_nothing_left()


def _is_listening(directory: Path) -> bool:
    """Tell whether a server of the run is still there."""
    names = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
    run_id = directory.name.split("-")[1]
    return any(
        f"berth-{run_id}-postgres" in name or f"berth-{run_id}.postgres" in name for name in names
    )


def test_mistakes_and_interrupted_starts_leave_nothing(
    place: Place, project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    program = ("--", sys.executable, "tell.py")

    assert "no program is given" in place.command("run", "pg", status=1)
    assert "no such program" in place.command("run", "--", "no-such-program", status=127)
    assert "there is no service 'psotgres'" in place.command("up", "psotgres", status=1)
    assert "nothing is named to open a shell in" in place.command("shell", status=1)
    told = place.command("run", *program, status=1, BERTH_PG_SCHEMA="nothing:metadata")
    assert told.splitlines()[-3].startswith("berth: the module 'nothing' was not found.")
    assert "has a value that cannot be used" in place.command(
        "up", status=1, BERTH_START_TIMEOUT="soon"
    )
    place.require_nothing_left()

    project.write(slow="import pathlib, time; pathlib.Path('begun').touch(); time.sleep(60)")
    process = place.start("up", BERTH_PG_SCHEMA="command: python slow.py")
    wait_for((place.root / "begun").exists, TIMEOUT, message="the command of the schema")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
