"""ServerObjects other plugins, and where pytest asks for fixtures in unusual ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from marks import nightly

if TYPE_CHECKING:
    from conftest import Project

EMPTY_AFTERWARDS = """

            def test_zz_next(pg_session):
                assert pg_session.scalars(select(User)).all() == []
"""
HEAD = """
            import pytest
            from sqlalchemy import insert, select
            from models import User
"""


def write(project: Project, tests: str) -> None:
    """Write tests, and one that finds the table empty."""
    project.models()
    project.write(test_it=HEAD + tests + EMPTY_AFTERWARDS)


def test_fixtures_asked_for_at_run_time_work_and_leave_nothing(served: Project) -> None:
    write(
        served,
        """
            def test_session(request):
                session = request.getfixturevalue("pg_session")
                session.add(User(email="a@example.com"))
                session.commit()

            def test_engine(request):
                with request.getfixturevalue("pg_engine").begin() as connection:
                    connection.execute(insert(User).values(email="a@example.com"))

            def test_engine_again(request):
                with request.getfixturevalue("pg_engine").begin() as connection:
                    connection.execute(insert(User).values(email="a@example.com"))
        """,
    )
    served.run().assert_outcomes(passed=4)


def test_a_fixture_that_asks_at_run_time_is_cleaned_up_behind(served: Project) -> None:
    write(
        served,
        """
            @pytest.fixture
            def backend(request):
                return request.getfixturevalue("pg_engine")

            @pytest.mark.parametrize("n", [1, 2])
            def test_it(backend, n):
                with backend.begin() as connection:
                    connection.execute(insert(User).values(email="a@example.com"))
        """,
    )
    served.run().assert_outcomes(passed=3)


def test_unittest_cases_with_autouse_fixtures_get_a_clean_slate(served: Project) -> None:
    write(
        served,
        """
            import unittest

            class TestCase(unittest.TestCase):
                @pytest.fixture(autouse=True)
                def database(self, pg_session):
                    self.session = pg_session

                def test_one(self):
                    self.session.add(User(email="a@example.com"))
                    self.session.commit()

                def test_two(self):
                    assert self.session.scalars(select(User)).all() == []
        """,
    )
    served.run().assert_outcomes(passed=3)


@pytest.mark.parametrize("fixture", ["pg_session", *nightly("pg_engine")])
def test_each_rerun_gets_a_clean_slate(served: Project, fixture: str) -> None:
    served.plugins = ("rerunfailures",)
    write(
        served,
        f"""
            attempts = []

            def test_flaky({fixture}):
                if "{fixture}" == "pg_session":
                    {fixture}.add(User(email="a@example.com"))
                    {fixture}.commit()
                else:
                    with {fixture}.begin() as connection:
                        connection.execute(insert(User).values(email="a@example.com"))
                attempts.append(1)
                assert len(attempts) == 3
        """,
    )
    result = served.run("--reruns=3")
    assert result.parseoutcomes() == {"passed": 2, "rerun": 2}


@pytest.mark.parametrize("fixture", ["pg_engine", *nightly("pg_connection")])
def test_a_test_that_takes_too_long_is_ended_and_cleaned_up(served: Project, fixture: str) -> None:
    served.plugins = ("timeout",)
    write(
        served,
        f"""
            from sqlalchemy import text

            @pytest.mark.timeout(1, func_only=True)
            def test_slow({fixture}):
                if "{fixture}" == "pg_connection":
                    {fixture}.execute(insert(User).values(email="a@example.com"))
                    {fixture}.execute(text("SELECT pg_sleep(60)"))
                else:
                    with {fixture}.begin() as connection:
                        connection.execute(insert(User).values(email="a@example.com"))
                        connection.execute(text("SELECT pg_sleep(60)"))
        """,
    )
    result = served.run("--timeout-method=signal")
    assert result.parseoutcomes()["failed"] == 1
    assert result.parseoutcomes()["passed"] == 1


@pytest.mark.parametrize("seed", ["1", *nightly("2", "3")])
def test_random_order_changes_nothing(served: Project, seed: str) -> None:
    served.plugins = ("randomly",)
    write(
        served,
        """
            @pytest.mark.parametrize("n", range(3))
            def test_rolled_back(pg_session, n):
                pg_session.add(User(email="a@example.com"))
                pg_session.commit()
                assert pg_session.scalars(select(User.id)).all() == [1]

            @pytest.mark.parametrize("n", range(3))
            def test_truncated(pg_engine, n):
                with pg_engine.begin() as connection:
                    connection.execute(insert(User).values(email="a@example.com"))
                    assert connection.scalars(select(User.id)).all() == [1]
        """,
    )
    served.run(f"--randomly-seed={seed}").assert_outcomes(passed=7)


def test_doctests_and_other_items_without_fixtures_are_left_alone(served: Project) -> None:
    served.models()
    served.write(
        documented='''
            """
            >>> 1 + 1
            2
            """
        '''
    )
    served.run("--doctest-modules").assert_outcomes(passed=1)


def test_it_can_be_switched_off(project: Project) -> None:
    project.write(test_it="def test_unit(): pass")
    result = project.run("-p", "no:berth")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("berth:*")
