"""The conformance suite: what every service has to do, tried in real runs of pytest.

A service, ours or another's, runs it against itself::

    class TestMemcached(ServiceConformance):
        service = MEMCACHED
        write = "memcached_client.set('key', 'value')"
        read = "memcached_client.get('key')"

It needs pytest's plugin ``pytester``: ``addopts = -p pytester``. Each test writes a small project
and runs pytest on it in a process of its own. Tests of a source that cannot serve here are skipped,
and say why.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from socket import create_connection
from textwrap import dedent
from typing import TYPE_CHECKING, ClassVar

import pytest

from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.sources.choose import Sources
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_berth.config.descriptor import Service

__all__ = ["ServiceConformance"]

_OTHERS = re.compile(r"(BERTH|PYTEST)_[A-Z_]*|CI")
_KEPT = {"BERTH_CACHE", "BERTH_ARTIFACT_MIRROR"}
_TIMEOUT = 600.0
# Workers that start their servers first; where a test of one has failed, the other fails, too.
_MEET_WITHIN = 120.0
_ENDS_WITHIN = 60.0
_PROBLEMS = pytest.StashKey["dict[str, Mapping[str, str]]"]()
_CONFTEST = """
import os, pathlib
import pytest
from pytest_berth.run.plugin_state import PLUGIN_STATE

def pytest_runtest_logreport(report):
    if report.failed:
        pathlib.Path("a-test-has-failed").touch()

def pytest_runtest_teardown(item):
    berth = item.config.stash[PLUGIN_STATE]
    if berth.has_manager:
        with pathlib.Path("servers.txt").open("a") as file:
            for server in berth.manager.servers:
                print(berth.run.id, server.source, server.host, server.port, file=file)

def kill(config, running):
    server = running.server
    config.stash[PLUGIN_STATE].manager.source(server).kill(server)

def run_nested(*lines, **variables):
    import subprocess, sys
    root = pathlib.Path("nested")
    given = pathlib.Path("nested.ini").read_text().splitlines()
    (root / "pytest.ini").write_text("\\n".join([*given, *lines]))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    environment = {**os.environ, **variables}
    return subprocess.Popen(command, cwd=root, env=environment, start_new_session=True)

def run_at(url, prefix, *lines):
    return run_nested(f"berth_{prefix}_url = {url}", *lines, BERTH_SOURCE="external").wait()
"""


class ServiceConformance:
    """The tests; a subclass whose name begins with ``Test`` says which service they are for.

    Attributes:
        service: Its descriptor.
        sources: Where its servers come from.
        write: A statement in a test, by the service's fixtures, that writes something.
        read: An expression in a test that tells whether that is there: true, or false.
        wide_write: As `write`, in a fixture of a wider scope; the same, when left out.
        fixtures: The fixtures that a test needs for both; those that they name, when left out.
        settings: Lines of the ini file for each run.
        files: Contents of further files by name.
        allow: The line of the ini file that lets tests empty a server given by URL, where that has
            to be allowed; with ``{host}``, ``{port}`` and ``{url}``.
        server_url: An expression, by the service's address and ``<prefix>_server``, of the URL that
            the setting ``berth_<prefix>_url`` takes; the address itself, when left out.
        restores: Whether what fixtures of a wider scope write stays, test after test.
        in_turn: How many tests end with a write, the next one looking whether it comes late; fewer
            where reading takes long.
        indistinguishable: Why nothing tells a server of berth's from another one that comes to its
            place; empty for a service whose backend notices.
    """

    service: ClassVar[Service]
    sources: ClassVar[Sequence[str]] = ("container", "local")
    write: ClassVar[str]
    read: ClassVar[str]
    wide_write: ClassVar[str] = ""
    fixtures: ClassVar[Sequence[str]] = ()
    settings: ClassVar[Sequence[str]] = ()
    files: ClassVar[Mapping[str, str]] = {}
    allow: ClassVar[str] = ""
    server_url: ClassVar[str] = ""
    restores: ClassVar[bool] = False
    in_turn: ClassVar[int] = 10
    indistinguishable: ClassVar[str] = ""

    @pytest.fixture
    def conformance_home(self) -> str:
        """The user's directory, which `pytester` hides: engine and cache are found from there."""
        return os.path.expanduser("~")  # noqa: PTH111  Path.home() fails where there is none

    @pytest.fixture
    def conformance_problems(self, pytestconfig: pytest.Config) -> Mapping[str, str]:
        """Why sources cannot serve here; asked once, before `pytester` hides what they look at."""
        berth = pytestconfig.stash[PLUGIN_STATE]
        known = pytestconfig.stash.setdefault(_PROBLEMS, {})
        if self.service.name not in known:
            places = Sources(berth.settings, berth.run.id)
            obstacles = {
                name: places[name].obstacle(self.service, berth.progress) for name in self.sources
            }
            found = {name: str(obstacle) for name, obstacle in obstacles.items() if obstacle}
            known[self.service.name] = found
        return known[self.service.name]

    @pytest.fixture
    def conformance_project(
        self,
        conformance_home: str,
        conformance_problems: Mapping[str, str],
        pytester: pytest.Pytester,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Project:
        """A small project, in an environment without the settings of the suite's own run."""
        for name in set(filter(_OTHERS.fullmatch, os.environ)) - _KEPT:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", conformance_home)
        monkeypatch.setenv("BERTH_SNAPSHOTS", "off")
        return Project(type(self), pytester, monkeypatch)

    @pytest.fixture(params=["container", "local"])
    def each_source(
        self,
        request: pytest.FixtureRequest,
        conformance_project: Project,
        conformance_problems: Mapping[str, str],
    ) -> Project:
        """The project with each source in turn."""
        source = str(request.param)
        if source not in self.sources:
            pytest.skip(f"{self.service.label} does not come from the source {source!r}")
        if source in conformance_problems:
            pytest.skip(conformance_problems[source])
        return conformance_project.on(source)

    @pytest.fixture
    def any_source(
        self, conformance_project: Project, conformance_problems: Mapping[str, str]
    ) -> Project:
        """The project with the fastest source that can serve."""
        for source in ("local", "container"):
            if source in self.sources and source not in conformance_problems:
                return conformance_project.on(source)
        pytest.skip("\n".join(conformance_problems.values()))

    def test_no_test_sees_what_another_one_wrote(self, each_source: Project) -> None:
        """Tests that pass, fail, ask late, or end with a write; the server is gone at the end."""
        project, names = each_source, each_source.names
        names_and_server = project.names_and(project.server, self.service.address)
        project.write(
            f"""
            import pytest

            def test_first({names}):
                assert not {self.read}
                {self.write}
                assert {self.read}

            def test_second({names}):
                assert not {self.read}

            def test_fails({names}):
                {self.write}
                raise RuntimeError("as it should")

            def test_after_it({names}):
                assert not {self.read}

            def test_late(request):
                {project.late}
                assert not {self.read}
                {self.write}

            def test_after_that({names_and_server}):
                assert not {self.read}
                assert {self.service.prefix}_server.version
                assert {self.service.address}

            # What a client has sent, and not waited for, may come after the clean-up.
            @pytest.mark.parametrize("number", range({2 * self.in_turn}))
            def test_in_turn({names}, number):
                writes = number % 2 == 0
                for _ in range(1 if writes else 5):
                    assert not {self.read}
                if writes:
                    {self.write}
            """
        )
        result = project.run()
        result.assert_outcomes(passed=5 + 2 * self.in_turn, failed=1)
        result.stdout.fnmatch_lines(["*RuntimeError: as it should*"])
        project.require_nothing_left()

    def test_a_late_test_is_isolated_also_where_it_is_the_first(self, any_source: Project) -> None:
        """The namespace is opened in the middle of that test."""
        any_source.write(
            f"""
            def test_late(request):
                {any_source.late}
                {self.write}

            def test_next({any_source.names}):
                assert not {self.read}
            """
        )
        any_source.run().assert_outcomes(passed=2)

    def test_what_a_wider_fixture_wrote_is_there_as_long_as_it_lives(
        self, any_source: Project
    ) -> None:
        """For services that restore; the others empty everything."""
        if not self.restores:
            pytest.skip(f"{self.service.label} is emptied after each test")
        names = any_source.names
        any_source.write(
            f"""
            import pytest

            @pytest.fixture(scope="module")
            def written({any_source.wide_names}):
                {any_source.wide_write}

            def test_before({names}):
                assert not {self.read}

            def test_with(written, {names}):
                assert {self.read}

            def test_with_again(written, {names}):
                assert {self.read}
            """,
            test_later=f"""
            import pytest

            @pytest.fixture(scope="session")
            def written({any_source.wide_names}):
                {any_source.wide_write}

            def test_after({names}):
                assert not {self.read}

            def test_with(written, {names}):
                assert {self.read}
            """,
            test_much_later=f"""
            def test_of_another_module({names}):
                assert {self.read}
            """,
        )
        any_source.run().assert_outcomes(passed=6)

    def test_workers_are_kept_apart(self, any_source: Project) -> None:
        """They share a server, unless the service says that each has one.

        One writes while the other one looks, and is cleaned up after while the other one has data.
        """
        pytest.importorskip("xdist")
        any_source.write(
            f"""
            import pathlib
            import pytest
            from pytest_berth import wait_for

            turns, has_failed = [], pathlib.Path("a-test-has-failed").exists

            def reach(step, worker):
                pathlib.Path(f"{{step}}-{{worker}}").touch()

            def wait_until(step, worker):
                is_reached = pathlib.Path(f"{{step}}-{{worker}}").exists
                wait_for(lambda: is_reached() or has_failed(), {_MEET_WITHIN})
                assert is_reached(), "a test of the other worker has failed"

            def meet(step, worker):
                reach(step, worker)
                for each in ("gw0", "gw1"):
                    wait_until(step, each)

            @pytest.mark.parametrize("number", range(8))
            def test_it({any_source.names}, number, worker_id):
                turns.append(number)
                assert not {self.read}
                if len(turns) == 1:
                    meet("both have looked", worker_id)
                    if worker_id == "gw0":
                        {self.write}
                    meet("one has written", worker_id)
                    assert bool({self.read}) == (worker_id == "gw0")
                    meet("both have read", worker_id)
                    if worker_id == "gw1":
                        {self.write}
                    meet("both have written", worker_id)
                    if worker_id == "gw1":
                        wait_until("first is clean", "gw0")
                        assert {self.read}
                elif worker_id == "gw0":
                    reach("first is clean", worker_id)
            """
        )
        any_source.run("-n", "2", "--dist", "load").assert_outcomes(passed=8)
        shared = self.service.scope.default == "run"
        assert len({line.split()[3] for line in any_source.servers()}) == (1 if shared else 2)
        any_source.require_nothing_left()

    def test_a_server_given_by_url_keeps_what_others_have_there(self, any_source: Project) -> None:
        """Tests are refused, or work beside it; where it is allowed, they empty it."""
        prefix, names = self.service.prefix, any_source.names
        inner = f"""
            def test_inner({names}):
                assert not {self.read}
                {self.write}
        """
        any_source.nested(inner, *self.settings)
        any_source.write(
            f"""
            from conftest import run_at

            def test_outer({any_source.names_and(any_source.server, self.service.address)}):
                place = {prefix}_server
                url = {any_source.server_url}
                {self.write}
                status = run_at(url, {prefix!r})
                assert status in ({{1}} if {bool(self.allow)!r} else {{0}})
                assert {self.read}
                line = {self.allow!r}.format(host=place.host, port=place.port, url=url)
                assert run_at(url, {prefix!r}, line) == 0
            """
        )
        any_source.run("test_it.py").assert_outcomes(passed=1)

    def test_what_a_session_fixture_wrote_is_gone_at_the_end(self, any_source: Project) -> None:
        """Also from a server given by URL, which outlives the session."""
        prefix, names = self.service.prefix, any_source.names
        if not self.restores:
            pytest.skip(f"{self.service.label} is emptied after each test")
        inner = f"""
            import pytest

            @pytest.fixture(scope="session")
            def written({any_source.wide_names}):
                {any_source.wide_write}

            def test_inner(written, {names}):
                assert {self.read}
        """
        any_source.nested(inner, *self.settings)
        any_source.write(
            f"""
            from conftest import run_at

            def test_outer({any_source.names_and(any_source.server, self.service.address)}):
                place = {prefix}_server
                url = {any_source.server_url}
                line = {self.allow!r}.format(host=place.host, port=place.port, url=url)
                assert run_at(url, {prefix!r}, line) == 0
                assert not {self.read}
            """
        )
        any_source.run("test_it.py").assert_outcomes(passed=1)

    def test_another_server_at_the_place_of_a_lost_one_keeps_what_it_holds(
        self, any_source: Project
    ) -> None:
        """It is a stranger's that happens to be of the same kind; the tests are told, and fail."""
        if self.indistinguishable:
            pytest.skip(self.indistinguishable)
        prefix, names = self.service.prefix, any_source.names
        any_source.nested(
            f"""
            import pathlib
            from pytest_berth import wait_for

            def test_stranger({names}):
                {self.write}
                assert {self.read}
                pathlib.Path("is-there").touch()
                wait_for(pathlib.Path("may-end").exists, {_TIMEOUT})
                pathlib.Path("has-kept-it").write_text(str(bool({self.read})))
            """,
            *self.settings,
        )
        any_source.write(
            f"""
            import os, pathlib, tempfile
            import pytest
            from conftest import kill, run_nested
            from pytest_berth import wait_for

            place, strangers = pathlib.Path("nested"), []

            @pytest.fixture(scope="session", autouse=True)
            def own_directory():
                with tempfile.TemporaryDirectory() as directory:
                    os.chmod(directory, 0o755)
                    yield directory
                    (place / "may-end").touch()
                    for each in strangers:
                        assert each.wait() == 0

            def test_losing({any_source.names_and(any_source.server)}, pytestconfig, own_directory):
                port = f"berth_{prefix}_port = {{{prefix}_server.port}}"
                kill(pytestconfig, {prefix}_server)
                # Elsewhere than the ports that this run reserves: a stranger knows nothing of them.
                strangers.append(run_nested(port, TMPDIR=own_directory))
                there = lambda: (place / "is-there").exists() or strangers[0].poll() is not None
                wait_for(there, {_TIMEOUT})
                assert strangers[0].poll() is None

            def test_later({names}):
                {self.write}

            def test_much_later({names}):
                {self.write}
            """
        )
        result = any_source.run("test_it.py", "-v")
        result.stdout.fnmatch_lines(["*::test_losing PASSED*"])
        kept = any_source.root / "nested" / "has-kept-it"
        assert kept.read_text("utf-8") == "True", "what a stranger's server held was destroyed"
        result.stdout.no_fnmatch_line("*::test_*later PASSED*")
        result.stdout.fnmatch_lines(["* why: *"])

    def test_a_test_may_have_its_own_server(self, any_source: Project) -> None:
        """By the marker's argument ``scope``."""
        service = self.service
        if service.namespace not in service.dedicated.fixtures:
            pytest.skip(f"{service.label} has no marker for that")
        names = any_source.names_and(any_source.server)
        any_source.write(
            f"""
            import pytest

            ports = []

            def test_shared({names}):
                ports.append({service.prefix}_server.port)

            @pytest.mark.{service.marker.name}(scope="test")
            def test_own({names}):
                assert {service.prefix}_server.port not in ports
                {self.write}
                assert {self.read}

            def test_shared_again({names}):
                assert {service.prefix}_server.port in ports
                assert not {self.read}
            """
        )
        any_source.run().assert_outcomes(passed=3)
        any_source.require_nothing_left()

    def test_a_lost_server_is_replaced(self, each_source: Project) -> None:
        """The test that loses it may fail; later ones have another one, at the same address."""
        prefix, names = self.service.prefix, each_source.names
        names_and_server = each_source.names_and(each_source.server)
        each_source.write(
            f"""
            from conftest import kill

            ports = []

            def test_losing({names_and_server}, pytestconfig):
                ports.append({prefix}_server.port)
                {self.write}
                kill(pytestconfig, {prefix}_server)

            def test_later({names_and_server}):
                assert {prefix}_server.port in ports
                assert not {self.read}
                {self.write}

            def test_much_later({names}):
                assert not {self.read}
            """
        )
        result = each_source.run("-v")
        result.stdout.fnmatch_lines(["*::test_later PASSED*", "*::test_much_later PASSED*"])
        each_source.require_nothing_left()

    def test_the_application_is_told_the_address(self, any_source: Project) -> None:
        """``berth_export`` knows it before the server is started; a prompt's clients open it."""
        address = self.service.address
        any_source.write(
            f"""
            import os
            from pytest_berth.run.plugin_state import PLUGIN_STATE

            EARLY = os.environ["APP_ADDRESS"]

            def test_it({address}):
                assert EARLY
                assert EARLY.rpartition("@")[2] == {address}.rpartition("@")[2]

            def test_a_prompt({address}, pytestconfig):
                berth = pytestconfig.stash[PLUGIN_STATE]
                service = next(e for e in berth.services if e.name == {self.service.name!r})
                place = (berth.server(service), berth.settings, berth.run.id, berth.run.worker)
                told = service.backend.placeholders(*place)
                clients = service.backend.prompt({{name: str(told[name]) for name in told}})
                for client in reversed(clients.values()):
                    getattr(client, "close", str)()
            """,
            lines=[f"berth_export = APP_ADDRESS = {{{address}}}"],
        )
        any_source.run().assert_outcomes(passed=2)

    def test_a_missing_package_is_told(self, any_source: Project) -> None:
        """By the tests that need it, with what to install."""
        if not self.service.packages:
            pytest.skip(f"{self.service.label} needs no package")
        package = self.service.packages[0]
        any_source.write(
            f"""
            def test_it({self.service.address}):
                pass
            """,
            conftest=f"import sys\nsys.modules[{package!r}] = None\n",
        )
        result = any_source.run()
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([f"*needs the package '{package}', which is not installed.*"])

    def test_a_source_that_cannot_serve_is_told(self, conformance_project: Project) -> None:
        """Here: a server given by URL, without a URL."""
        project = conformance_project.on("external")
        project.write(
            f"""
            def test_it({self.service.address}):
                pass
            """
        )
        result = project.run()
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([f"*berth_{self.service.prefix}_url*"])

    def test_slips_are_told_before_the_first_test(self, conformance_project: Project) -> None:
        """An unknown setting, and an unknown argument of the marker."""
        project, marker = conformance_project, self.service.marker.name
        project.write(
            f"""
            import pytest

            @pytest.mark.{marker}(nonsense=1)
            def test_it({self.service.address}):
                pass
            """
        )
        result = project.run()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        told = f"*@pytest.mark.{marker} has no argument 'nonsense'.*"
        result.stderr.fnmatch_lines([told])
        project.write("", lines=[f"berth_{self.service.prefix}_versoin = 1"])
        result = project.run()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        known = self.service.version.name
        result.stderr.fnmatch_lines(["*unknown setting*_versoin*", f"*did you mean '{known}'?*"])


class Project:
    """A project that the conformance suite writes, and runs pytest on.

    Attributes:
        names: The fixtures of `ServiceConformance.write` and `ServiceConformance.read`.
    """

    def __init__(
        self, suite: type[ServiceConformance], pytester: pytest.Pytester, patch: pytest.MonkeyPatch
    ) -> None:
        self._suite = suite
        self._pytester = pytester
        self._patch = patch
        self._fixtures = tuple(suite.fixtures) or self._used(f"{suite.write} {suite.read}")
        self.names = ", ".join(self._fixtures)

    def on(self, source: str) -> Project:
        """Let servers come from a source."""
        self._patch.setenv("BERTH_SOURCE", source)
        return self

    @property
    def server_url(self) -> str:
        """The expression of the URL by which another run finds the server."""
        return self._suite.server_url or self._suite.service.address

    @property
    def server(self) -> str:
        """The fixture that tells of the server."""
        return f"{self._suite.service.prefix}_server"

    def names_and(self, *further: str) -> str:
        """Return the fixtures' names with further ones, each once."""
        return ", ".join(dict.fromkeys([*self._fixtures, *further]))

    @property
    def late(self) -> str:
        """A statement that gets the fixtures while a test runs."""
        return "; ".join(f"{name} = request.getfixturevalue({name!r})" for name in self._fixtures)

    @property
    def wide_names(self) -> str:
        """The fixtures of a wider scope that `ServiceConformance.wide_write` needs."""
        return ", ".join(self._used(self.wide_write)) or self._suite.service.address

    @property
    def wide_write(self) -> str:
        """What writes in a fixture of a wider scope."""
        return self._suite.wide_write or self._suite.write

    def write(
        self, test: str, *, lines: Sequence[str] = (), conftest: str = "", **others: str
    ) -> None:
        """Write the project's files: the ini file, ``conftest.py``, ``test_it.py``."""
        ini = ["[pytest]", *self._suite.settings, *lines]
        self._file("pytest.ini", "\n".join([*ini, ""]))
        self._file("conftest.py", conftest + _CONFTEST)
        for name, content in self._suite.files.items():
            self._file(name, dedent(content))
        for name, content in {"test_it": test, **others}.items():
            self._file(f"{name}.py", dedent(content))

    def nested(self, test: str, *lines: str) -> None:
        """Write another project below it, whose ini file is written by who runs it."""
        for name, content in self._suite.files.items():
            self._file(f"nested/{name}", dedent(content))
        self._file("nested/test_nested.py", dedent(test))
        self._file("nested.ini", "\n".join(["[pytest]", *lines, ""]))

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in a process of its own, in the order in which tests are written."""
        (self.root / "servers.txt").unlink(missing_ok=True)
        return self._pytester.runpytest_subprocess(
            "-p", "no:randomly", *arguments, timeout=_TIMEOUT
        )

    def servers(self) -> list[str]:
        """Return a line for each server of the last run: run, source, host, port."""
        path = self.root / "servers.txt"
        return sorted(set(path.read_text("utf-8").splitlines())) if path.exists() else []

    def require_nothing_left(self) -> None:
        """Fail where a server of the last run answers, or ``pytest-berth ps`` lists the run."""
        lines = self.servers()
        assert lines, "the run has started no server"
        for line in lines:
            wait_for(partial(_is_silent, line), _ENDS_WITHIN, message=f"the end of {line}")
        # Its reaper may be at it yet.
        run_id = lines[0].split()[0]
        wait_for(partial(_is_not_listed, run_id), _ENDS_WITHIN, message=f"the end of {run_id}")

    @property
    def root(self) -> Path:
        """The project's directory."""
        return self._pytester.path

    def _file(self, name: str, content: str) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")

    def _used(self, code: str) -> tuple[str, ...]:
        words = re.findall(r"\w+", code)
        return tuple(name for name in sorted(self._suite.service.fixtures) if name in words)


def _is_not_listed(run_id: str) -> bool:
    """Tell whether ``pytest-berth ps`` lists nothing of a run any more."""
    command = [sys.executable, "-m", "pytest_berth.cli", "ps"]
    return run_id not in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _is_silent(line: str) -> bool:
    """Tell whether nothing listens any more where a server was."""
    _, _, host, port = line.split()
    try:
        with create_connection((host, int(port)), timeout=1):
            return False
    except OSError:
        return True
