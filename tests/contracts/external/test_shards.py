"""Several runs on one external server: they share a template, and clean up only their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from marks import nightly
from pytest_berth import wait_for
from pytest_berth.services.postgres.databases import run_databases
from pytest_berth.services.postgres.server import advisory_locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project
    from tests.contracts.external.conftest import Site

SCHEMA = """
CREATE TABLE users (id serial PRIMARY KEY, email text UNIQUE NOT NULL);
SELECT pg_sleep(coalesce(current_setting('shards.sleep', true), '1')::float);
"""
TESTS = """
    import os
    import threading
    from pathlib import Path
    from sqlalchemy import text

    def test_writes(pg_engine):
        with pg_engine.begin() as connection:
            assert connection.scalar(text("SELECT count(*) FROM users")) == 0
            connection.execute(text("INSERT INTO users (email) VALUES ('a')"))

    def test_waits(pg_url, pg_session):
        Path(os.environ["SHARD"]).touch()
        wait = threading.Event().wait
        while not Path("go on").exists():
            wait(0.05)

    def test_writes_again(pg_engine):
        test_writes(pg_engine)
"""
NAMES = "SELECT datname FROM pg_database WHERE datdba = '{0}'::regrole AND datname <> '{0}'"


@dataclass
class Shards:
    """Runs of one project on one server, each with a temporary directory of its own."""

    project: Project
    site: Site
    place: Path
    runs: list[subprocess.Popen[str]] = field(default_factory=list)
    started: int = 0

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a run."""
        number = self.started
        self.started += 1
        own = self.place / str(number)
        own.mkdir()
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", *self.project.arguments(*arguments)],
            cwd=self.project.root,
            env={
                **os.environ,
                "BERTH_PG_URL": self.site.url(),
                "TMPDIR": str(own),
                "SHARD": f"shard-{number}",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.runs.append(run)
        return run

    def until_all_wait(self) -> None:
        """Wait until each run is in the test that waits."""
        marks = [self.project.root / f"shard-{number}" for number in range(self.started)]

        def all_wait() -> bool:
            assert all(run.poll() is None for run in self.runs), self.runs[0].communicate()[0]
            return all(mark.exists() for mark in marks)

        wait_for(all_wait, 60, message="the runs' waiting tests")

    def go_on(self) -> None:
        """Let the tests that wait come to their end."""
        (self.project.root / "go on").touch()

    def databases(self) -> list[str]:
        """Return the names of the databases that the runs have made."""
        return sorted(name for (name,) in self.site.execute(NAMES.format(self.site.name)))

    def templates(self) -> list[str]:
        """Return the shared ones among these."""
        return [name for name in self.databases() if name.startswith("berth_template_")]

    def removed(self) -> bool:
        """Remove what is left of these."""
        with self.site.connect() as conn:
            for name in self.databases():
                run_databases.remove(conn, name)
        return True

    def kill(self, number: int) -> None:
        """Kill a run together with its reaper, as the end of a CI job does."""
        for process in psutil.process_iter(["cmdline"]):
            if str(self.place / str(number)) in " ".join(process.info["cmdline"] or ()):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        # The last one, as its reaper would begin at once to clear up.
        self.runs[number].kill()
        self.runs[number].wait()


@pytest.fixture
def shards(project: Project, site: Site) -> Iterator[Shards]:
    """Give a project whose runs share a server; nothing of them is left afterwards."""
    site.allow("CREATEDB")
    project.ini("berth_pg_schema = schema.sql")
    (project.root / "schema.sql").write_text(SCHEMA)
    project.write(test_shard=TESTS)
    with tempfile.TemporaryDirectory(prefix="shards-", ignore_cleanup_errors=True) as place:
        made = Shards(project, site, Path(place))
        yield made
        for run in made.runs:
            run.kill()
            run.wait()
            if run.stdout:
                run.stdout.close()
        site.expect_no_sessions()
        # Reapers of the runs that were killed may be at it, too.
        wait_for(made.removed, 60, ignore=psycopg.Error)


@pytest.mark.parametrize("workers", ["-n2", *nightly("-n0")])
def test_runs_that_start_at_once_build_one_template(shards: Shards, workers: str) -> None:
    shards.project.plugins = ("xdist", "xdist.looponfail")
    for _ in range(2):
        shards.start(workers)
    shards.until_all_wait()
    assert len(shards.templates()) == 1
    shards.go_on()
    outputs = [run.communicate()[0] for run in shards.runs]
    assert [run.returncode for run in shards.runs] == [0, 0], outputs
    assert sum("another run builds the template" in output for output in outputs) <= 1
    assert shards.databases() == []
    shards.site.expect_no_sessions()


def test_the_first_run_to_end_leaves_what_the_other_one_uses(shards: Shards) -> None:
    shards.start()
    shards.until_all_wait()
    first = shards.start("-k", "test_writes")
    output = first.communicate()[0]
    assert first.returncode == 0, output
    assert len(shards.templates()) == 1
    assert len(shards.databases()) == 3
    shards.go_on()
    output = shards.runs[0].communicate()[0]
    assert shards.runs[0].returncode == 0, output
    assert shards.databases() == []


def test_what_a_killed_run_has_left_is_removed_by_the_next_one_and_only_that(
    shards: Shards,
) -> None:
    shards.start()
    shards.start()
    shards.until_all_wait()
    assert len(shards.databases()) == 5
    before = len(shards.site.sessions())
    shards.kill(0)
    wait_for(lambda: len(shards.site.sessions()) <= before // 2, 60)
    assert len(shards.databases()) == 5
    third = shards.start("-k", "test_writes")
    output = third.communicate()[0]
    assert third.returncode == 0, output
    assert len(shards.databases()) == 3, "those of the living run, and the shared template"
    shards.go_on()
    output = shards.runs[1].communicate()[0]
    assert shards.runs[1].returncode == 0, output
    assert shards.databases() == []


def test_a_builder_that_is_killed_makes_way_for_another_one(shards: Shards) -> None:
    shards.start(PGOPTIONS="-c shards.sleep=60")
    wait_for(shards.templates, 30)
    (template,) = shards.templates()
    sealed = f"SELECT datistemplate FROM pg_database WHERE datname = '{template}'"
    assert shards.site.execute(sealed) == [(False,)]
    shards.kill(0)
    # As if it had been killed before it could comment on what it had just created.
    limit = run_databases._IN_THE_MAKING
    shards.site.execute(f"COMMENT ON DATABASE {template} IS NULL")
    shards.site.execute(f"ALTER DATABASE {template} CONNECTION LIMIT {limit}")
    shards.start()
    (shards.project.root / "shard-0").touch()
    shards.runs.pop(0).communicate()
    shards.until_all_wait()
    assert shards.templates() == [template]
    assert shards.site.execute(sealed) == [(True,)]
    shards.go_on()
    output = shards.runs[0].communicate()[0]
    assert shards.runs[0].returncode == 0, output
    assert shards.databases() == []


def test_databases_of_others_that_are_named_like_ours_stay(shards: Shards) -> None:
    names = ["berth_deadbeef_gw0", "berth_deadbeef_template", "berth_template_0123456789abcdef"]
    for name in names:
        shards.site.execute(f"CREATE DATABASE {name} OWNER {shards.site.name}")
    # So a run's template is marked on the run's own server, where nobody needs a lock.
    kept = "pytest-berth: kept as berth_template_0123456789abcdef"
    for name in names[1:]:
        shards.site.execute(f"COMMENT ON DATABASE {name} IS '{kept}'")
    # A person's copy of a database of a run that is dead now.
    names.append("berth_0123abcd_copy")
    for part, text in (
        ("copy", None),
        ("main", "a database of the run 0123abcd"),
        ("template", "databases of the run 0123abcd of /src on laptop"),
    ):
        name = f"berth_0123abcd_{part}"
        shards.site.execute(f"CREATE DATABASE {name} OWNER {shards.site.name}")
        if text:
            shards.site.execute(f"COMMENT ON DATABASE {name} IS 'pytest-berth: {text}'")
    # And one that this run was about to comment on when it was killed.
    limit = f"CONNECTION LIMIT {run_databases._IN_THE_MAKING}"
    shards.site.execute(f"CREATE DATABASE berth_0123abcd_gw0 OWNER {shards.site.name} {limit}")
    run = shards.start("-k", "test_writes")
    output = run.communicate()[0]
    assert run.returncode == 0, output
    assert shards.databases() == sorted(names)


def test_of_two_that_clear_up_at_once_from_two_databases_neither_gives_way(
    shards: Shards,
) -> None:
    shards.start()
    shards.until_all_wait()
    (template,) = shards.templates()
    digits = template.removeprefix("berth_template_")
    with shards.site.connect() as other:
        building = advisory_locks.Lock(advisory_locks.BUILDING, digits).if_not_alone(other)
        used = advisory_locks.Lock(advisory_locks.TEMPLATE, digits).if_not_shared(other)
        with building as not_built, used as unused:
            assert (not_built, unused) == (True, False), "the run that waits shares it"
            shards.go_on()
            output = shards.runs[0].communicate()[0]
    assert shards.runs[0].returncode == 0, output
    assert shards.databases() == []


def test_what_nobody_knows_the_dependencies_of_is_not_shared_unless_globs_say(
    shards: Shards, require_source: Callable[[str], None]
) -> None:
    line = "command: python -c pass"
    shards.project.ini("berth_pg_schema =", "    schema.sql", f"    {line}")
    shards.start()
    shards.until_all_wait()
    assert shards.templates() == []
    shards.project.ini(
        "berth_pg_schema =", "    schema.sql", f"    {line}", "berth_pg_fingerprint = *.sql"
    )
    shards.start()
    shards.until_all_wait()
    assert len(shards.templates()) == 1
