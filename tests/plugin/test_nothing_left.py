"""After a run, however it ends: no process, container, directory or database of it is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import docker
import psutil
import psycopg
import pytest

from conftest import TIMEOUT
from marks import nightly, usual
from pytest_berth import wait_for
from temporary import open_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Project

ENDS = {
    "a normal end": ("pass", ()),
    "a failing test": ("assert False", ()),
    "a failing test and -x": ("assert False", ("-x",)),
    "pytest.exit": ("pytest.exit('enough')", ()),
    "an internal error": ("conftest.BROKEN.append(1)", ()),
}
ENDS_OF_LOCAL_SERVERS = usual(ENDS, *(ENDS.keys() - {"a failing test"}))
# Where each end has been tried on a local server, one is enough.
USUAL_ENDS = usual(ENDS, "an internal error")
CONFTEST = """
    BROKEN = []

    def pytest_runtest_logfinish():
        if BROKEN:
            raise RuntimeError("a plugin is broken")
"""
TESTS = """
    import conftest
    import pytest
    from pathlib import Path
    from sqlalchemy import text

    def test_first(pg_session):
        Path("database").write_text(pg_session.scalar(text("SELECT current_database()")))
        {body}

    def test_second(pg_session): pass
"""


@pytest.fixture
def temporary(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory for temporary files of the project's runs, open to unprivileged servers."""
    with open_home() as directory:
        monkeypatch.setenv("TMPDIR", str(directory))
        project.models()
        project.conftest(CONFTEST)
        yield directory


def left_in(directory: Path) -> list[str]:
    """Return what a run has left in a directory; reservations of ports may be used again."""
    return [path.name for path in directory.glob("berth-*") if "ports" not in path.name]


def processes_in(directory: Path) -> list[psutil.Process]:
    """Return the processes whose command line names a directory."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in word for word in process.info["cmdline"] or ())
    ]


def nothing_left(directory: Path) -> None:
    """Assert that neither files nor processes are left."""
    assert left_in(directory) == []
    # A run's helper may end a moment after the run.
    wait_for(lambda: not processes_in(directory), 30)


@pytest.mark.parametrize("end", ENDS_OF_LOCAL_SERVERS)
def test_a_local_server_is_gone(
    project: Project, temporary: Path, require_source: Callable[[str], None], end: str
) -> None:
    require_source("local")
    body, arguments = ENDS[end]
    project.write(test_it=TESTS.format(body=body))
    project.run("--berth-source=local", *arguments).stdout.fnmatch_lines(["*ready in*local*"])
    nothing_left(temporary)


@pytest.mark.parametrize("end", USUAL_ENDS)
def test_a_local_server_is_gone_under_xdist(
    project: Project, temporary: Path, require_source: Callable[[str], None], end: str
) -> None:
    require_source("local")
    project.plugins = ("xdist",)
    body, arguments = ENDS[end]
    project.write(test_it=TESTS.format(body=body))
    result = project.run("--berth-source=local", "-n", "2", *arguments)
    assert "ready in" in result.stdout.str() + result.stderr.str()
    nothing_left(temporary)


@pytest.mark.parametrize("workers", [2, *nightly(0)])
def test_the_results_are_shown_before_the_server_ends(
    project: Project, temporary: Path, require_source: Callable[[str], None], workers: int
) -> None:
    require_source("local")
    project.plugins = ("xdist",)
    project.write(
        test_it="""
            from pathlib import Path
            def test_it(pg_dsn): Path("dsn").write_text(pg_dsn)
        """
    )
    project.conftest(
        """
        import psycopg, pytest, threading
        from pathlib import Path

        @pytest.hookimpl(trylast=True)
        def pytest_terminal_summary(terminalreporter):
            server = Path("dsn").read_text().rpartition("/")[0]
            psycopg.connect(f"{server}/postgres").close()
            terminalreporter.write_line("it answers")

        @pytest.hookimpl(tryfirst=True)
        def pytest_unconfigure(config):
            print("shown")

        def pytest_configure(config):
            from pytest_berth.run.plugin_state import PluginState
            ended = PluginState.end
            def end(self):
                print("not shown")
                ended(self)
            PluginState.end = end
        """
    )
    result = project.run("--berth-source=local", "-n", str(workers))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["it answers", "*= 1 passed*", "shown"])
    assert "not shown" not in str(result.stdout)
    nothing_left(temporary)


@pytest.mark.parametrize("end", USUAL_ENDS)
def test_a_container_is_gone(
    project: Project, temporary: Path, require_source: Callable[[str], None], end: str
) -> None:
    require_source("container")
    body, arguments = ENDS[end]
    project.write(test_it=TESTS.format(body=body))
    project.run("--berth-source=container", *arguments).stdout.fnmatch_lines(["*ready in*"])
    # The run's reaper may be at it yet.
    wait_for(lambda: not containers_of(project) and not left_in(temporary), 60)
    nothing_left(temporary)


def run_id_of(project: Project) -> str:
    """Return the id of the last run, which is part of its database's name."""
    return (project.root / "database").read_text().split("_")[1]


def containers_of(project: Project) -> list[str]:
    """Return the names of the last run's containers."""
    client = docker.from_env()
    try:
        found = client.containers.list(all=True, filters={"name": f"berth-{run_id_of(project)}"})
        return [container.name for container in found]
    finally:
        client.close()


@pytest.mark.parametrize("workers", [2, *nightly(0)])
@pytest.mark.parametrize("end", USUAL_ENDS)
def test_databases_on_an_external_server_are_gone(
    served: Project, temporary: Path, outer_url: str, end: str, workers: int
) -> None:
    served.plugins = ("xdist",)
    body, arguments = ENDS[end]
    served.write(test_it=TESTS.format(body=body))
    served.run("-n", str(workers), *arguments)
    pattern = f"berth_{run_id_of(served)}_%"
    with psycopg.connect(outer_url.replace("+psycopg", "")) as connection:
        query = "SELECT datname FROM pg_database WHERE datname LIKE %s"
        assert connection.execute(query, [pattern]).fetchall() == []
    nothing_left(temporary)


def test_a_usage_error_leaves_nothing(project: Project, temporary: Path) -> None:
    project.models("berth_pg_isolation = wrong", "berth_export = X = {pg_url}")
    assert project.run().ret == pytest.ExitCode.USAGE_ERROR
    nothing_left(temporary)


@pytest.mark.parametrize("workers", [2, *nightly(0)])
def test_a_usage_error_after_the_export_leaves_nothing(
    project: Project, temporary: Path, workers: int
) -> None:
    project.plugins = ("xdist",)
    project.models("berth_export = X = {pg_url}", "berth_source = local")
    project.write(
        test_it="""
            import pytest

            @pytest.mark.berth_pg(isolation="wrong")
            def test_it(pg_session): pass
        """
    )
    assert project.run("-n", str(workers)).ret == pytest.ExitCode.USAGE_ERROR
    nothing_left(temporary)


def test_an_unknown_flag_leaves_nothing(project: Project, temporary: Path) -> None:
    project.models("berth_export = X = {pg_url}", "berth_source = local")
    assert project.run("--no-such-flag").ret == pytest.ExitCode.USAGE_ERROR
    nothing_left(temporary)


def test_a_conftest_that_cannot_be_imported_leaves_nothing(
    project: Project, temporary: Path
) -> None:
    project.models("berth_export = X = {pg_url}", "berth_source = local")
    project.conftest("raise RuntimeError('broken')")
    assert project.run().ret == pytest.ExitCode.USAGE_ERROR
    nothing_left(temporary)


@pytest.mark.parametrize(
    ("source", "workers"),
    [("local", 2), ("container", 0), *nightly(("local", 0), ("container", 2))],
)
def test_ctrl_c_leaves_nothing(
    project: Project,
    temporary: Path,
    require_source: Callable[[str], None],
    source: str,
    workers: int,
) -> None:
    require_source(source)
    project.plugins = ("xdist",)
    project.write(
        test_it="""
            import os, threading
            from pathlib import Path
            import pytest
            from sqlalchemy import text

            @pytest.mark.parametrize("n", range(4))
            def test_it(pg_session, n):
                partial = Path(f"partial-{os.getpid()}")
                partial.write_text(pg_session.scalar(text("SELECT current_database()")))
                partial.rename("database")
                threading.Event().wait()
        """
    )
    command = [sys.executable, "-m", "pytest", "-n", str(workers), f"--berth-source={source}"]
    with (project.root / "output").open("w") as output:
        process = subprocess.Popen(
            [*command, *project.arguments()],
            cwd=project.root,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for((project.root / "database").exists, 90)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == pytest.ExitCode.INTERRUPTED
    finally:
        process.kill()
    assert "KeyboardInterrupt" in (project.root / "output").read_text()
    if source == "container":
        # The run's reaper may be at it yet.
        wait_for(lambda: not containers_of(project) and not left_in(temporary), 60)
    nothing_left(temporary)


def test_a_second_ctrl_c_while_servers_end_leaves_the_rest_to_the_reaper(
    project: Project, temporary: Path, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini("berth_source = local")
    project.write(
        conftest="""
            import os, signal
            from pytest_berth.run.server_manager import Manager

            def interrupted(self, **given):
                os.kill(os.getpid(), signal.SIGINT)
                stop(self, **given)

            stop, Manager.stop = Manager.stop, interrupted
        """,
        test_it="""
            def test_it(redis_client):
                raise KeyboardInterrupt
        """,
    )

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *project.arguments()],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert ended.returncode == pytest.ExitCode.INTERRUPTED, ended.stdout + ended.stderr
    assert "berth: interrupted while servers were ended: the reaper ends the rest" in ended.stdout
    assert "Traceback" not in ended.stderr
    wait_for(lambda: not left_in(temporary), 60, message="what the reaper removes")
    nothing_left(temporary)
