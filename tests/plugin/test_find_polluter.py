"""``--berth-find-polluter``: which earlier test makes one fail."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_berth import wait_for

if TYPE_CHECKING:
    from conftest import Project

FLAG = "--berth-find-polluter"
STATE = "broken = more = False"
FIRST = """
    import state

    def test_0(): pass
    def test_1(): pass
    def test_breaks(): state.broken = True
    def test_3(): assert False, "an earlier test that fails is nothing to stop at"
    def test_4(): pass
    def test_5(): pass
    def test_together(): state.more = True
"""
SECOND = """
    import pytest
    import state

    @pytest.fixture
    def set_up():
        assert not state.broken

    @pytest.mark.parametrize("way", ["a b"])
    def test_victim(way, set_up): pass
    def test_of_two(): assert not (state.broken and state.more)
    def test_fails_anyway(): assert False
    def test_passes(): pass
"""


@pytest.fixture
def unit(project: Project) -> Project:
    """A project of unit tests, one of which breaks others."""
    project.ini("addopts = -x --maxfail=1")
    project.write(state=STATE, test_first=FIRST, test_second=SECOND)
    return project


def shown(result: pytest.RunResult) -> list[str]:
    """Return the command that is shown, without the flags of every run of these tests."""
    text = result.stdout.str().partition("to see it:\n")[2]
    command = shlex.split(text.replace("\\\n", " ").splitlines()[0])
    return [each for each in command if not each.startswith(("-pno:", "--basetemp="))]


def test_the_polluter_is_found_and_shown_by_a_command_of_two_lines(unit: Project) -> None:
    victim = "test_second.py::test_victim[a b]"
    result = unit.run(FLAG, victim, "-x", "--pdb")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "berth: collecting what this command line would run, in its order",
            "berth: run 1: alone, it passes",
            "berth: run 2: after all that run before it, it fails",
            "berth: run 3: after 3 tests, it fails (7 tests to choose from, about 3 runs to go)",
            "berth: run *",
            "berth: found: breaks test_second.py::test_victim[[]a b[]]:",
            "  test_first.py::test_breaks",
            "berth: to see it:",
            "  pytest * test_first.py::test_breaks \\",
            "      'test_second.py::test_victim[[]a b[]]'",
            "berth: no difference in a server: look at what it leaves in the process, *",
        ]
    )
    assert shown(result) == ["pytest", "test_first.py::test_breaks", victim]


def test_two_that_only_do_it_together_are_found_in_an_order_that_is_given(unit: Project) -> None:
    first = [f"test_first.py::test_{name}" for name in ("together", "1", "breaks", "4")]
    victim = "test_second.py::test_of_two"
    (unit.root / "order.txt").write_text("\n".join([*first, victim, "test_first.py::test_0"]))
    result = unit.run("@order.txt", f"{FLAG}={victim}")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines([f"berth: found: together break {victim}:"])
    assert shown(result) == ["pytest", first[0], first[2], victim]


def test_where_no_earlier_test_is_to_blame_it_is_said_why(unit: Project) -> None:
    alone = unit.run(FLAG, "test_second.py::test_fails_anyway")
    assert alone.ret == 1
    alone.stdout.fnmatch_lines(
        ["berth: run 2: alone, once more, it fails", "berth: nothing found: it fails alone, *"]
    )
    unit.write(test_imported="import state; state.broken = True; test = lambda: None")
    imported = unit.run(
        FLAG, "test_second.py::test_victim[a b]", "test_imported.py", "test_second.py"
    )
    assert imported.ret == 1
    imported.stdout.fnmatch_lines(["*: it passes by `pytest *`, and fails alone where all *"])
    first = unit.run(FLAG, "test_first.py::test_0")
    assert first.ret == 1
    first.stdout.fnmatch_lines(["berth: nothing found: test_first.py::test_0 is the first test: *"])


@pytest.mark.slow
def test_a_test_that_passes_in_this_order_needs_the_one_in_which_it_fails(unit: Project) -> None:
    passes = unit.run(FLAG, "test_second.py::test_passes")
    assert passes.ret == 1
    passes.stdout.fnmatch_lines(
        ["berth: run 3: after all *, once more, it passes", "berth: nothing found: it passes *"]
    )


@pytest.mark.slow
def test_a_seed_is_honoured_and_nothing_hides_the_outcome(project: Project) -> None:
    project.plugins = ("randomly", "xdist", "rerunfailures")
    project.write(
        test_it="""
            state = []

            def test_0(): pass
            def test_1(): pass
            def test_2(): pass
            def test_victim():
                if state:
                    state.clear()
                    raise AssertionError("passes when it is run again")
            def test_breaks(): state.append(1)
            def test_5(): pass
        """
    )
    result = project.run("-n2", "--reruns=1", "--randomly-seed=4", FLAG, "test_it.py::test_victim")
    assert result.ret == 0, result.stdout.str()
    assert shown(result) == [
        "pytest",
        *("-n0", "--reruns=0", "--randomly-seed=4", "--randomly-dont-reorganize"),
        *("test_it.py::test_breaks", "test_it.py::test_victim"),
    ]


def test_outcomes_that_contradict_each_other_are_told(unit: Project) -> None:
    unit.write(
        test_chance="""
            from pathlib import Path

            RUNS = Path("runs")

            def test_before(): pass
            def test_chance(request):
                RUNS.write_text(RUNS.read_text() + "." if RUNS.exists() else ".")
                assert len(RUNS.read_text()) != 2
        """
    )
    result = unit.run(FLAG, "test_chance.py::test_chance", "test_chance.py")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "berth: run 2: after all that run before it, it fails",
            "berth: nothing found: it has failed after these, and passes after them *",
            "  test_chance.py::test_before",
        ]
    )


def test_a_name_that_is_not_there_is_a_usage_error_with_the_nearest(unit: Project) -> None:
    result = unit.run(FLAG, "test_second.py::test_victm")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: no test 'test_second.py::test_victm' is run by this command line.",
            "  why: it is given to --berth-find-polluter, and 11 tests are collected",
            "  do:  did you mean 'test_second.py::test_victim[[]a b[]]'*",
        ]
    )


def test_modules_that_cannot_be_collected_are_told(unit: Project) -> None:
    unit.write(test_broken="import nowhere")
    result = unit.run(FLAG, "test_broken.py::test_it", "test_broken.py")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["berth: nothing found: nothing was collected", "*No module named 'nowhere'*"]
    )


def test_interrupted_it_ends_what_it_has_started(unit: Project) -> None:
    unit.write(
        test_z="""
            import os
            from pathlib import Path

            from pytest_berth import wait_for

            def test_waits():
                Path("pid").write_text(str(os.getpid()))
                wait_for(lambda: False, 300)
        """
    )
    arguments = unit.arguments(FLAG, "test_z.py::test_waits")
    with (unit.root / "output").open("w") as output:
        command = [sys.executable, "-m", "pytest", *arguments]
        process = subprocess.Popen(command, cwd=unit.root, stdout=output, stderr=subprocess.STDOUT)
    try:
        found = unit.root / "pid"
        pid = int(wait_for(lambda: found.exists() and found.read_text(), 60))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == pytest.ExitCode.INTERRUPTED
    finally:
        process.kill()
    told = (unit.root / "output").read_text()
    assert "berth: interrupted; what the last run had started is ended" in told
    assert not psutil.pid_exists(pid)


def test_what_the_polluter_leaves_in_a_server_is_told(served: Project) -> None:
    served.models()
    served.write(
        test_it="""
            import pytest
            from sqlalchemy import text

            pytestmark = pytest.mark.berth_pg(isolation="none")

            def test_0(pg_engine): pass

            def test_leaves(pg_engine):
                with pg_engine.begin() as connection:
                    connection.execute(text("INSERT INTO users (email) VALUES ('x')"))

            def test_2(pg_engine): pass

            def test_victim(pg_engine):
                with pg_engine.connect() as connection:
                    assert not connection.scalar(text("SELECT count(*) FROM users"))
        """
    )
    result = served.run(FLAG, "test_it.py::test_victim")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "berth: found: breaks test_it.py::test_victim:",
            "  test_it.py::test_leaves",
            "berth: what it leaves behind, by --berth-audit:",
            "  postgres: rows of public.users: 0 rows -> 1 row (new: id=1)",
        ]
    )
