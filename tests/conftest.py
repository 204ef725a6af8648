"""What tests of the whole plugin share: a user's project, and the sources a server comes from."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

import fork_server
import temporary
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.services.mysql.service import MYSQL
from pytest_berth.services.postgres import urls
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.services.rabbitmq.service import RABBITMQ
from pytest_berth.services.redis.service import REDIS
from pytest_berth.services.wiremock.service import WIREMOCK
from pytest_berth.sources.choose import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_berth.api import Service
    from pytest_berth.isolation.running_server import RunningServer

# Generous: on a busy machine everything takes ten times as long.
TIMEOUT = 600.0
NOT_INHERITED = re.compile(r"(BERTH|PYTEST|PG)[A-Z_]*|CI|BUILD_NUMBER|FORCE_COLOR|PY_COLORS")
KEPT = {"BERTH_CACHE", "BERTH_ARTIFACT_MIRROR"}
INI_FILES = ("pytest.ini", "pytest.toml", "pyproject.toml", "tox.ini", "setup.cfg")
MODELS = """
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(unique=True)
"""


@dataclass
class Project:
    """A user's project in a directory of its own, with only the plugins that it asks for."""

    pytester: pytest.Pytester
    plugins: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The project's directory."""
        return self.pytester.path

    def ini(self, *lines: str) -> None:
        """Write ``pytest.ini``."""
        (self.root / "pytest.ini").write_text("\n".join(["[pytest]", "pythonpath = .", *lines, ""]))

    def write(self, **files: str) -> None:
        """Write Python modules."""
        self.pytester.makepyfile(**files)

    def conftest(self, source: str) -> None:
        """Write ``conftest.py``."""
        self.pytester.makeconftest(source)

    def models(self, *lines: str) -> None:
        """Write a table ``users``, and ``pytest.ini`` with it as the schema."""
        self.write(models=MODELS)
        self.ini("berth_pg_schema = models:Base.metadata", *lines)

    def arguments(self, *arguments: str) -> tuple[str, ...]:
        """Return a command line on which all other installed plugins are switched off."""
        if not any((self.root / name).exists() for name in INI_FILES):
            # Else pytest would go up, and might find the settings of this very repository.
            (self.root / "pytest.ini").write_text("[pytest]\n")
        return (*plugins_off(*self.plugins), *arguments)

    def run(self, *arguments: str, forked: bool = True, **environment: str) -> pytest.RunResult:
        """Run pytest in a process of its own; not *forked* where imports are what is looked at."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            if forked:
                patch.setattr(self.pytester, "popen", fork_server.popen)
            return self.pytester.runpytest_subprocess(*self.arguments(*arguments), timeout=TIMEOUT)


def plugins_off(*used: str) -> list[str]:
    """Return options that switch off all plugins that are installed, but berth and those *used*."""
    installed = {entry.name for entry in entry_points(group="pytest11")}
    return [f"-pno:{name}" for name in sorted(installed - {"berth", *used})]


def pytest_configure(config: pytest.Config) -> None:
    """Let signals reach the runs of tests, also where the suite itself runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    runs_tests = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    if runs_tests and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # Programs inherit what is ignored, as by nohup, but no handler; this process lives on.
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(scope="session")
def _home() -> str:
    """The user's own directory, which `pytester` hides: engine and cache are found from there."""
    return os.path.expanduser("~")  # noqa: PTH111  Path.home() fails where there is none


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every account may enter; pytest closes its own as often as a run begins."""
    with temporary.open_home() as place:
        yield place


@pytest.fixture
def project(_home: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A user's project, in an environment without the outer run's settings."""
    for name in set(filter(NOT_INHERITED.fullmatch, os.environ)) - KEPT:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", _home)
    # A project for one test has nothing to keep for later runs.
    monkeypatch.setenv("BERTH_SNAPSHOTS", "off")
    return Project(pytester)


@pytest.fixture(scope="session")
def outer_url(pg_server: RunningServer, pytestconfig: pytest.Config) -> str:
    """URL of a superuser on the server that the outer run has started."""
    server = pytestconfig.stash[PLUGIN_STATE].manager.server(POSTGRES)
    return urls.url(server, server.credentials.database)


@pytest.fixture
def served(project: Project, outer_url: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose Postgres is a server that runs already, which saves starting one."""
    monkeypatch.setenv("BERTH_PG_URL", outer_url)
    return project


@pytest.fixture(scope="session")
def require_service(pytestconfig: pytest.Config) -> Callable[[Service, str], None]:
    """Skip where a source cannot serve a service; fail where ``BERTH_TESTS_REQUIRE`` names it."""
    berth = pytestconfig.stash[PLUGIN_STATE]
    required = os.environ.get("BERTH_TESTS_REQUIRE", "").split(",")
    candidates = Sources(berth.settings, berth.run.id)
    # Asked before any test: `pytester` forgets the modules that are imported while it is used.
    problems = {
        service.name: {
            name: each.obstacle(service, berth.progress) for name, each in candidates.items()
        }
        for service in (POSTGRES, REDIS, KAFKA, MYSQL, WIREMOCK, RABBITMQ)
    }

    def require(service: Service, name: str) -> None:
        # A server of any other source serves as an external one.
        of_service = problems[service.name]
        found = [of_service[each] for each in ([name] if name != "external" else of_service)]
        if all(found):
            problem = "\n".join(map(str, found))
            if name in required:
                pytest.fail(f"BERTH_TESTS_REQUIRE names {name!r}, but: {problem}", pytrace=False)
            pytest.skip(problem)

    return require


@pytest.fixture(scope="session")
def require_source(require_service: Callable[[Service, str], None]) -> Callable[[str], None]:
    """Skip the test when a source cannot serve Postgres; fail where it is required."""
    return partial(require_service, POSTGRES)


@pytest.fixture(params=["container", "local", "external"])
def source(
    request: pytest.FixtureRequest, project: Project, require_source: Callable[[str], None]
) -> str:
    """Each source in turn, set up for the runs of `project`."""
    name = str(request.param)
    require_source(name)
    patch = request.getfixturevalue("monkeypatch")
    patch.setenv("BERTH_SOURCE", name)
    if name == "external":
        patch.setenv("BERTH_PG_URL", request.getfixturevalue("outer_url"))
    return name
