"""Which earlier tests are found to make one fail, and by how many runs."""

from __future__ import annotations

import pytest

from pytest_berth.find_polluter.smallest_set import NodeIds, smallest_set

TESTS = tuple(f"test_{number}" for number in range(1000))


@pytest.mark.parametrize(
    ("needed", "most"),
    [((0,), 12), ((999,), 12), ((371,), 12), ((3, 998), 24), ((0, 1), 24), ((10, 20, 30), 37)],
)
def test_the_smallest_set_is_found_by_about_ten_runs_for_each_of_its_tests(
    needed: tuple[int, ...], most: int
) -> None:
    runs: list[NodeIds] = []

    def fails(tests: NodeIds, left: int) -> bool:
        runs.append(tests)
        assert 1 <= left <= len(TESTS)
        return {f"test_{number}" for number in needed} <= set(tests)

    assert smallest_set(TESTS, fails) == tuple(f"test_{number}" for number in needed)
    assert len(runs) == len(set(runs)) <= most
    assert all(list(each) == sorted(each, key=TESTS.index) for each in runs)


def test_a_test_that_cleans_up_behind_another_leads_nobody_astray() -> None:
    def fails(tests: NodeIds, left: int) -> bool:
        state = False
        for test in tests:
            state = test in ("test_100", "test_700") or (state and test != "test_400")
        return state

    (found,) = smallest_set(TESTS, fails)
    assert found in ("test_100", "test_700")


def test_an_answer_that_was_wrong_once_brings_in_nothing_needless() -> None:
    answers = 0

    def fails(tests: NodeIds, left: int) -> bool:
        nonlocal answers
        answers += 1
        return "test_5" in tests and answers != 2

    assert smallest_set(TESTS, fails) == ("test_5",)
