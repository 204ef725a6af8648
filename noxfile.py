"""The project's chores: ``nox -s tests`` is what CI runs, ``nox --list`` names them all."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Iterable

nox.options.sessions = ["tests"]
nox.options.reuse_venv = "yes"
# uv would pass over what the user has set for pip: an index, a certificate.
nox.options.default_venv_backend = "virtualenv"

PYPROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")
EXAMPLES = (
    # First, as its many processes would load the plugins of the others.
    Path("examples/custom_service"),
    Path("examples/shop"),
    Path("examples/order_flow"),
    Path("examples/contract"),
    Path("examples/services"),
)
# Tests of an example whose image is not made for the suite, as that takes minutes.
IF_PRESENT = {
    "tests/test_mongodb.py": "mongo:8",
    "tests/test_opensearch.py": "opensearchproject/opensearch:3",
}
# Modules that are compiled anew in each of the suite's many processes would make it crawl.
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": None}
# pytest-asyncio warns unless its own default is said aloud, and warnings are errors here.
ALWAYS = ("-o", "asyncio_default_fixture_loop_scope=function")
IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
# Where the whole machine stalls for a moment, servers answer late: told as "R".
RETRIED = ("--reruns=2", "--reruns-delay=3") * IN_CI
# What touches the packages that berth needs; the rest of the suite runs with the newest ones.
FLOORS_AT_NIGHT = (
    "tests/plugin/test_async.py",
    "tests/plugin/test_commits.py",
    "tests/plugin/test_isolation.py",
    "tests/plugin/test_left_open.py",
    "tests/plugin/test_session_state.py",
    "tests/plugin/test_without_sqlalchemy.py",
    "tests/plugin/test_xdist.py",
    "tests/services/redis/test_isolation.py",
)
# Of those, a test or two for each package: of SQLAlchemy, the drivers, xdist, asyncio's plugins.
FLOORS = (
    "tests/unit",
    # The examples of the documentation are of the newest versions.
    "--ignore-glob=tests/unit/test_documentation*.py",
    "tests/plugin/test_async.py::test_every_runner_gives_each_test_a_clean_slate",
    "tests/plugin/test_async.py::test_a_test_that_commits_through_them_is_put_back",
    "tests/plugin/test_async.py::test_sync_and_async_fixtures_of_a_test_share_its_transaction",
    "tests/plugin/test_async.py::test_fastapi_works_on_the_tests_session",
    "tests/plugin/test_commits.py::test_commits_are_real_and_gone_after_the_test",
    "tests/plugin/test_isolation.py::test_what_a_test_commits_is_seen_and_gone_afterwards",
    "tests/plugin/test_isolation.py::test_a_rolled_back_test_works_with_transactions_as_any_other",
    "tests/plugin/test_left_open.py::test_a_connection_without_a_pool_is_found_too",
    "tests/plugin/test_left_open.py::test_psycopgs_own_pool_survives_it_too",
    "tests/plugin/test_session_state.py::test_each_test_has_its_sessions_as_new",
    "tests/plugin/test_settings.py",
    "tests/plugin/test_without_sqlalchemy.py::test_urls_export_and_isolation_need_psycopg_only",
    "tests/plugin/test_xdist.py::test_two_workers_share_a_server_and_have_a_database_each",
    "tests/plugin/test_xdist.py::test_a_crashed_worker_is_replaced_and_the_run_ends",
    "tests/services/kafka/test_probe.py",
    "tests/services/redis/test_isolation.py::test_what_a_session_fixture_wrote_is_put_back_after_each_test",
    "tests/services/redis/test_isolation.py::test_keys_are_put_back_where_scripts_are_refused_too",
    "tests/services/restore/test_rows.py",
    "tests/services/restore/test_speed_paths.py",
)

LOWEST = r"(?P<name>[\w-]+)(\[.*\])?>=(?P<version>[\w.]+)"
# berth works with it, and does without.
PARTNERS = {"pytest-xdist"}
FOR_OLD_SQLALCHEMY = ("tests/unit/test_sqlalchemy.py", "tests/plugin/test_sqlalchemy_1_4.py")


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine."""

    version: str
    path: str


@dataclass(frozen=True)
class Run:
    """One run of the suite."""

    name: str
    wanted: str
    python: Interpreter
    postgres: str
    paths: tuple[str, ...] = ()
    # Whether pytest's runs within tests are forks of one process, or interpreters of their own.
    forked: str = "off"

    @property
    def title(self) -> str:
        instead = f" (there is no {self.wanted} here)" * (self.wanted != self.python.version)
        return f"Python {self.python.version}{instead}, repair on {self.postgres}"


def find_interpreters() -> list[Interpreter]:
    """Return the supported Pythons of this machine, oldest first; never none."""
    found = {version: path for version in SUPPORTED if (path := _find(version))}
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not found or own in SUPPORTED:
        found[own] = sys.executable
    return [Interpreter(version, found[version]) for version in sorted(found, key=_numbers)]


def _find(version: str) -> str | None:
    """A pyenv shim on the PATH may name a Python that is not switched on, so it is passed over."""
    path = shutil.which(f"python{version}")
    if path and "shims" not in Path(path).parts:
        return path
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = (root / "versions").glob(f"{version}.*/bin/python{version}")
    return max(map(str, installed), key=_numbers, default=None)


def _numbers(text: str) -> list[int]:
    """Order 3.9 before 3.10, also within a path."""
    return [int(word) for word in "".join(c if c.isdigit() else " " for c in text).split()]


def choose(found: list[Interpreter], wanted: str, fallback: int) -> Interpreter:
    """Return the *wanted* version, else the one at the *fallback* end of those found."""
    return next((python for python in found if python.version == wanted), found[fallback])


PYTHONS = find_interpreters()
OLDEST = Run("floors", "3.10", choose(PYTHONS, "3.10", 0), "15", FLOORS)
OLDEST_AT_NIGHT = replace(OLDEST, name="floors_at_night", paths=FLOORS_AT_NIGHT)
NEWEST = Run("suite", "3.13", choose(PYTHONS, "3.13", -1), "17", forked="on")


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """Lint, the examples, then the suite; with arguments for pytest, the suite only."""
    session.log("Pythons found: %s", ", ".join(python.version for python in PYTHONS))
    if session.posargs:
        session.notify(NEWEST.name)
        return
    for name in ("lint", "demo", NEWEST.name):
        session.notify(name)


@nox.session(name=NEWEST.name, python=NEWEST.python.path)
def suite(session: nox.Session) -> None:
    """The suite but for what is slow, with the newest versions of all, in three processes."""
    session.install("-e", ".[all]", *_group("tests"))
    _run_suite(session, NEWEST)


@nox.session(name=OLDEST.name, python=OLDEST.python.path)
def floors(session: nox.Session) -> None:
    """What touches our dependencies, with their lowest versions; what is for SQLAlchemy 1.4."""
    _install_lowest(session)
    _run_suite(session, OLDEST)
    if not session.posargs:
        of_extra = PYPROJECT["project"]["optional-dependencies"]["sqlalchemy"]
        session.install(f"sqlalchemy=={_bounds(of_extra)['sqlalchemy']}")
        session.run("pytest", *ALWAYS, *FOR_OLD_SQLALCHEMY, env=ENVIRONMENT)


@nox.session(name=OLDEST_AT_NIGHT.name, python=OLDEST.python.path)
def floors_at_night(session: nox.Session) -> None:
    """The rest of what touches our dependencies, with their lowest versions."""
    _install_lowest(session)
    _run_suite(session, OLDEST_AT_NIGHT)


def _install_lowest(session: nox.Session) -> None:
    constraints = Path(session.create_tmp(), "lowest.txt")
    lowest = find_lowest()
    constraints.write_text("".join(f"{name}=={lowest[name]}\n" for name in lowest))
    session.install("-e", ".[all]", *_group("tests"), "--constraint", str(constraints))


@nox.session(python=NEWEST.python.path)
def slow(session: nox.Session) -> None:
    """What takes too long for `tests`, such as runs that are killed at random moments."""
    session.install("-e", ".[all]", *_group("tests"))
    required = _provision(session)
    usual = (
        "--timeout=900",
        "--durations=20",
        "--numprocesses=3",
        "-m",
        "slow and not nightly",
        *RETRIED,
    )
    session.run("pytest", *ALWAYS, *(session.posargs or usual), env={**ENVIRONMENT, **required})


def _left_out(session: nox.Session) -> list[str]:
    """Return the options that leave out what needs an image which is not here, and say so."""
    found = []
    for path, image in IF_PRESENT.items():
        if Path(path).exists() and not _is_present(image):
            session.log("%s is left out: python tests/provision.py %s", path, image)
            found.append(f"--ignore={path}")
    return found


def _is_present(image: str) -> bool:
    if not shutil.which("docker"):
        return False
    command = ["docker", "image", "inspect", image]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def find_lowest() -> dict[str, str]:
    """Return the lowest version of each package that pyproject.toml allows, direct or of an extra.

    Of what the suite needs in a newer version than a user's does, that one counts.
    """
    lowest, group = _bounds(_requirements()), _bounds(_group("tests"))
    return lowest | {name: group[name] for name in group if name in {*lowest, *PARTNERS}}


def _requirements() -> list[str]:
    project = PYPROJECT["project"]
    return [*project["dependencies"], *chain(*project["optional-dependencies"].values())]


def _bounds(requirements: Iterable[str]) -> dict[str, str]:
    found = (re.match(LOWEST, each) for each in requirements)
    return {each["name"]: each["version"] for each in found if each}


def _run_suite(session: nox.Session, run: Run) -> None:
    session.log("%s: %s", run.name, run.title)
    required = _provision(session)
    # The order is random; pytest-randomly prints the seed that brings it back.
    # Tests wait for processes half of their time: two cores serve three.
    usual = (
        "--timeout=900",
        "--durations=40",
        "--numprocesses=3",
        "-m",
        "not slow and not nightly",
        *RETRIED,
        *run.paths,
    )
    options = session.posargs or usual
    own = {"BERTH_TESTS_POSTGRES": run.postgres, "BERTH_TESTS_FORKED": run.forked}
    session.run("pytest", *ALWAYS, *options, env={**ENVIRONMENT, **required, **own})


def _provision(session: nox.Session) -> dict[str, str]:
    """Get engine and images; in CI, what can be tested here then has to be."""
    result = Path(session.create_tmp(), "provision.json")
    session.run("python", "tests/provision.py", "--json", str(result))
    sources = json.loads(result.read_text(encoding="utf-8"))["sources"]
    return {"BERTH_TESTS_REQUIRE": ",".join(sources)} if IN_CI else {}


@nox.session(python=NEWEST.python.path)
def lint(session: nox.Session) -> None:
    """Ruff, mypy, the direction of imports, and whether the documentation can be built."""
    session.install("-e", ".[all]", *_group("lint"), *_group("docs"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("mypy", "tests/provision.py", env={"MYPYPATH": "tests"})
    # What is measured, in benchmarks/project, needs the packages of all peers.
    session.run("mypy", "--exclude=^benchmarks/project/", "benchmarks", "tools")
    session.run("lint-imports")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "docs", "docs/_build/html")


@nox.session(python=NEWEST.python.path)
def demo(session: nox.Session) -> None:
    """Run the examples' own tests, as a user of the plugin would."""
    retries = [each for each in _group("tests") if each.startswith("pytest-rerunfailures")]
    session.install("-e", ".[all]", *retries)
    _provision(session)
    for example in EXAMPLES:
        own = ("-e", str(example)) if (example / "pyproject.toml").exists() else ()
        session.install(f"--requirement={example / 'requirements-test.txt'}", *own)
        with session.chdir(example):
            start = time.monotonic()
            options = (*_left_out(session), *RETRIED, *session.posargs)
            session.run("pytest", *options, env=ENVIRONMENT)
            session.log("The tests of %s took %.1f s in all.", example, time.monotonic() - start)


@nox.session(python=NEWEST.python.path)
def docs(session: nox.Session) -> None:
    """Check pages, links and excerpts, and build the documentation; a warning is an error.

    With ``-- external``, links to other sites are asked for, too.
    """
    session.install("-e", ".[all]", *_group("docs"))
    names = ("documentation_links", "documentation", "ci_recipes")
    files = (f"tests/unit/test_{name}.py" for name in names)
    session.run("pytest", *files, "-k", "not an_example")
    session.run("sphinx-build", "-W", "--keep-going", "docs", "docs/_build/html")
    if "external" in session.posargs:
        session.run("sphinx-build", "-b", "linkcheck", "docs", "docs/_build/links")


@nox.session(python=NEWEST.python.path)
def notes(session: nox.Session) -> None:
    """Print the next release's notes; with a version, ``nox -s notes -- 0.2.0``, write them."""
    session.install(*(each for each in _group("docs") if each.startswith("towncrier")))
    version = session.posargs[0] if session.posargs else "Unreleased"
    session.run(
        "towncrier", "build", "--yes" if session.posargs else "--draft", "--version", version
    )


@nox.session(python=NEWEST.python.path)
def bench(session: nox.Session) -> None:
    """Measure; arguments go to ``python -m benchmarks``."""
    peers = Path("benchmarks/requirements.txt")
    session.install("-e", ".[all]", *_group("tests"), *(["-r", str(peers)] * peers.exists()))
    session.run("python", "-m", "benchmarks", *session.posargs, env=ENVIRONMENT)


@nox.session(python=NEWEST.python.path)
def nightly(session: nox.Session) -> None:
    """What no other session runs; random programs on PostgreSQL 15 and 17; runs that are killed."""
    session.install("-e", ".[all]", *_group("tests"))
    programs = session.posargs[0] if session.posargs else "10000"
    for major in ("15", "17"):
        session.run(
            "pytest",
            *ALWAYS,
            "tests/services/restore/test_random.py",
            "tests/services/restore/test_statements.py",
            env={
                **ENVIRONMENT,
                "BERTH_TESTS_POSTGRES": major,
                "BERTH_TESTS_EXAMPLES": programs,
                "BERTH_TESTS_STATEMENTS": "300",
            },
        )
    required = {**ENVIRONMENT, **_provision(session), "BERTH_TESTS_FORKED": "off"}
    session.run(
        "pytest", *ALWAYS, "--timeout=900", "--numprocesses=3", "-m", "nightly", env=required
    )
    kills = {**required, "BERTH_TESTS_KILLS": "5"}
    violent = ("tests/plugin/test_random_kills.py", "tests/contracts/test_engine_restart.py")
    session.run("pytest", *ALWAYS, "--timeout=300", *violent, env=kills)


def _group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PYPROJECT, name)
