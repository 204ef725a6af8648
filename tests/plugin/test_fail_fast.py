"""``--berth-fail-fast``: a failing unit test ends the run before any server starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from marks import nightly

if TYPE_CHECKING:
    from conftest import Project

DISTRIBUTIONS = ("load", *nightly("loadfile", "loadscope", "loadgroup", "worksteal"))
SAID = "*a unit test failed (--berth-fail-fast): no server is started*"
FAILING = "def test_broken(): assert False"
PASSING = """
    import pytest

    @pytest.mark.parametrize("n", range(8))
    def test_unit(n): pass
"""
INTEGRATION = """
    import pytest

    @pytest.mark.parametrize("n", range(6))
    def test_pg(pg_session, n): pass
"""


@pytest.fixture
def suite(served: Project) -> Project:
    """A project with passing unit tests, mixed modules and integration tests."""
    served.models()
    served.write(
        test_integration=INTEGRATION,
        test_mixed="def test_pg(pg_session): pass\ndef test_unit(): pass",
        test_more=INTEGRATION,
        test_unit=PASSING,
    )
    return served


def test_a_failing_unit_test_means_that_no_server_starts(suite: Project) -> None:
    suite.write(test_failing=FAILING)
    result = suite.run("--berth-fail-fast")
    result.stdout.fnmatch_lines([SAID])
    result.stdout.no_fnmatch_line("*= berth =*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "test_pg" not in result.stdout.str()


def test_the_ini_file_can_ask_for_it(suite: Project) -> None:
    suite.models("berth_fail_fast = true")
    suite.write(test_failing=FAILING)
    suite.run().stdout.fnmatch_lines([SAID])


def test_without_it_integration_tests_run_all_the_same(suite: Project) -> None:
    suite.write(test_failing=FAILING)
    suite.run().assert_outcomes(passed=22, failed=1)


def test_with_passing_unit_tests_everything_runs(suite: Project) -> None:
    suite.run("--berth-fail-fast").assert_outcomes(passed=22)


def test_unit_tests_of_mixed_modules_come_too_late_only_if_their_module_does(
    suite: Project,
) -> None:
    suite.write(test_mixed="def test_unit(): assert False\ndef test_pg(pg_session): pass")
    result = suite.run("--berth-fail-fast", "test_mixed.py")
    result.stdout.fnmatch_lines([SAID])
    result.stdout.no_fnmatch_line("*= berth =*")


@pytest.mark.parametrize("place", ["setup", "teardown"])
def test_an_error_of_a_unit_tests_fixture_counts(suite: Project, place: str) -> None:
    before, after = ("assert False", "") if place == "setup" else ("", "assert False")
    suite.write(
        test_failing=f"""
            import pytest

            @pytest.fixture
            def broken():
                {before}
                yield
                {after}

            def test_unit(broken): pass
        """
    )
    result = suite.run("--berth-fail-fast")
    result.stdout.fnmatch_lines([SAID])


def test_skipped_and_expected_failures_do_not_count(suite: Project) -> None:
    suite.write(
        test_excused="""
            import pytest

            @pytest.mark.skip
            def test_skipped(): pass

            @pytest.mark.xfail
            def test_expected(): assert False
        """
    )
    suite.run("--berth-fail-fast").assert_outcomes(passed=22, skipped=1, xfailed=1)


def test_a_rerun_that_passes_does_not_count(suite: Project) -> None:
    suite.plugins = ("rerunfailures",)
    suite.write(
        test_flaky="""
            attempts = []

            def test_unit():
                attempts.append(1)
                assert len(attempts) == 2
        """
    )
    result = suite.run("--berth-fail-fast", "--reruns=1")
    result.stdout.no_fnmatch_line(SAID)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_under_xdist_no_server_starts_when_a_unit_test_failed(
    suite: Project, distribution: str
) -> None:
    suite.plugins = ("xdist",)
    suite.write(test_failing=FAILING)
    result = suite.run("-n", "2", "--dist", distribution, "--berth-fail-fast")
    result.stdout.fnmatch_lines([SAID])
    result.stdout.no_fnmatch_line("*= berth =*")
    assert result.ret != pytest.ExitCode.OK
    assert "berth: postgres" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_under_xdist_everything_runs_when_the_unit_tests_pass(
    suite: Project, distribution: str
) -> None:
    suite.plugins = ("xdist",)
    result = suite.run("-n", "2", "--dist", distribution, "--berth-fail-fast")
    result.assert_outcomes(passed=22)


@pytest.mark.parametrize(
    "distribution", ["loadfile", *nightly("load", "loadscope", "loadgroup", "worksteal")]
)
def test_workers_that_both_begin_with_integration_tests_do_not_wait_for_each_other(
    suite: Project, distribution: str
) -> None:
    suite.plugins = ("xdist",)
    suite.models("berth_order = none")
    (suite.root / "test_unit.py").rename(suite.root / "test_zzz.py")
    result = suite.run("-n", "2", "--dist", distribution, "--berth-fail-fast")
    result.assert_outcomes(passed=22)


def test_a_crashed_worker_does_not_hold_up_the_others(suite: Project) -> None:
    suite.plugins = ("xdist",)
    suite.write(test_crash="import os\ndef test_unit(): os._exit(1)")
    result = suite.run("-n", "2", "--berth-fail-fast")
    result.stdout.fnmatch_lines(["*crashed*"])
    result.stdout.no_fnmatch_line("*= berth =*")
    assert result.ret != pytest.ExitCode.OK


def test_a_worker_without_tests_left_does_not_hold_up_the_others(suite: Project) -> None:
    suite.plugins = ("xdist",)
    result = suite.run("-n", "2", "--dist", "loadfile", "--berth-fail-fast", "test_mixed.py")
    result.assert_outcomes(passed=2)


def test_a_crash_in_an_integration_test_is_not_taken_for_a_unit_tests(suite: Project) -> None:
    suite.plugins = ("xdist",)
    suite.write(test_mixed="import os\ndef test_pg(pg_session): os._exit(1)")
    result = suite.run("-n", "2", "--berth-fail-fast")
    result.stdout.no_fnmatch_line(SAID)
    result.assert_outcomes(passed=20, failed=1)
