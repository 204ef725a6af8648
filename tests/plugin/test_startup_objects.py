"""The garbage collector passes over pytest's own objects, and over nothing of the suite's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from conftest import Project

CONFTEST = """
    import gc, weakref

    class Node:
        pass

    node = Node()
    node.itself = node
"""
TESTS = """
    import gc, weakref
    import pytest
    import conftest
    from pytest_berth.run.startup_objects import all_objects

    def test_pytest_is_left_out_and_the_suite_is_not():
        assert gc.get_freeze_count() > 1000
        assert any(each is conftest.node for each in gc.get_objects())
        ended = weakref.ref(conftest.node)
        del conftest.node
        gc.collect()
        assert ended() is None

    def test_searches_find_them_nevertheless():
        assert not any(each is pytest for each in gc.get_objects())
        assert any(each is pytest for each in all_objects())
        gc.freeze()

    def test_a_run_within_a_test_leaves_out_nothing_more(tmp_path):
        before = gc.get_freeze_count()
        gc.unfreeze()
        (tmp_path / "pytest.ini").touch()
        (tmp_path / "test_nothing.py").write_text("def test(): pass")
        assert pytest.main([str(tmp_path), "-oberth_hints=no", "-q", "-pno:cacheprovider"]) == 0
        assert before and gc.get_freeze_count() == 0
"""
PROGRAM = """
    import gc, pytest

    assert pytest.main(["-oberth_hints=no", "-pno:asyncio", "test_one.py"]) == 0
    assert gc.get_freeze_count() == 0
"""
# These runs are processes of their own, and no part of the test that starts them.
OUTSIDE = {"PYTEST_CURRENT_TEST": ""}


def test_pytests_own_objects_are_left_out(project: Project) -> None:
    project.conftest(CONFTEST)
    project.write(test_one=TESTS)
    result = project.run("-oberth_hints=no", forked=False, **OUTSIDE)
    result.assert_outcomes(passed=3)


def test_workers_leave_out_theirs(project: Project) -> None:
    project.plugins = ("xdist", "xdist.looponfail")
    project.write(test_one="import gc\ndef test_one():\n    assert gc.get_freeze_count() > 1000")
    project.run("-n1", "-oberth_hints=no", forked=False, **OUTSIDE).assert_outcomes(passed=1)


def test_objects_of_another_program_stay_as_they_are(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OUTSIDE.items():
        monkeypatch.setenv(name, value)
    project.write(program=PROGRAM, test_one="def test_one(): pass")
    result = project.pytester.runpython("program.py")
    assert result.ret == 0, result.outlines
