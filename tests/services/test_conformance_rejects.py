"""The published conformance suite fails a service that breaks a promise, and says which."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree, which
from typing import TYPE_CHECKING

import pytest

from conftest import plugins_off
from marks import usual

if TYPE_CHECKING:
    from conftest import Project

SUITE = """
    from pytest_berth.testing import ServiceConformance
    from toy import TOY

    class TestToy(ServiceConformance):
        service = TOY
        sources = ("local",)
        write = "toy_write()"
        read = "toy_read()"
        server_url = "toy_url.rpartition('/')[0]"
"""
# The runs of that suite have the plugins that they use.
CONFTEST = f"""
    import pytest

    @pytest.fixture(autouse=True)
    def only_used_plugins(conformance_project, monkeypatch):
        monkeypatch.setenv("PYTEST_ADDOPTS", "{" ".join(plugins_off("xdist"))}")
"""
# The test that fails, and a line of what it tells.
FAULTS = {
    "leaves a test's data": (
        "test_no_test_sees_what_another_one_wrote[local]",
        "*FAILED test_it.py::test_second - assert not True*",
    ),
    "does not wait for its writes": (
        "test_no_test_sees_what_another_one_wrote[local]",
        "*FAILED test_it.py::test_in_turn[[]*[]] - assert not True*",
    ),
    "shares between workers": (
        "test_workers_are_kept_apart",
        "*FAILED test_it.py::test_it[[]?[]] - *",
    ),
    "empties what is of others": (
        "test_a_server_given_by_url_keeps_what_others_have_there",
        "*FAILED test_it.py::test_outer - assert False*",
    ),
    "takes a stranger's server": (
        "test_another_server_at_the_place_of_a_lost_one_keeps_what_it_holds",
        "E *Failed: nomatch: '[*]::test_[*]later PASSED[*]'",
    ),
}


@pytest.fixture
def toy(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that is the distribution of the toy service, with its conformance tests."""
    if not which("memcached"):
        pytest.skip("memcached is not installed")
    copytree(Path(__file__).with_name("toy"), project.root, dirs_exist_ok=True)
    installed = project.root / "toy-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[pytest_berth.services]\ntoy = toy:TOY\n")
    monkeypatch.setenv("PYTHONPATH", str(project.root))
    project.plugins = ("xdist", "xdist.looponfail")
    project.conftest(CONFTEST)
    project.write(test_toy=SUITE)
    return project


@pytest.mark.parametrize("fault", usual(FAULTS, "leaves a test's data"))
def test_a_service_is_rejected_for_what_it_does_wrong(toy: Project, fault: str) -> None:
    test, line = FAULTS[fault]
    result = toy.run(*chosen(test), forked=False, TOY_FAULT=fault)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([line])


@pytest.mark.nightly
def test_a_service_without_a_fault_passes_the_same_tests(toy: Project) -> None:
    tests = chosen(*(test for test, _ in FAULTS.values()))
    toy.run(*tests, forked=False).assert_outcomes(passed=len(FAULTS))


def test_a_suite_may_name_the_fixtures_that_every_service_has(toy: Project) -> None:
    """The tests that need these themselves ask for them once."""
    toy.write(test_toy=SUITE.replace('"toy_write()"', '"toy_write(), toy_url, toy_server"'))
    tests = chosen(
        "test_no_test_sees_what_another_one_wrote[local]",
        "test_a_server_given_by_url_keeps_what_others_have_there",
        "test_a_test_may_have_its_own_server",
        "test_a_lost_server_is_replaced[local]",
    )
    toy.run(*tests, forked=False).assert_outcomes(passed=4)


def chosen(*tests: str) -> list[str]:
    """Return the arguments that select tests of the conformance suite."""
    return ["-p", "pytester", *(f"test_toy.py::TestToy::{test}" for test in tests)]
