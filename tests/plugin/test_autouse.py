"""``berth_autouse``: servers and clean slates for tests that ask for no fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

APPLICATION = """
    import os
    from sqlalchemy import create_engine, insert, select
    from models import User

    engine = create_engine(os.environ["DATABASE_URL"])

    def register(email):
        with engine.begin() as connection:
            connection.execute(insert(User).values(email=email))

    def emails():
        with engine.connect() as connection:
            return connection.scalars(select(User.email).order_by(User.id)).all()
"""
TESTS = """
    import pytest
    from application import emails, register

    def test_without_arguments():
        register("a@example.com")
        assert emails()[-1] == "a@example.com"
        assert emails().count("a@example.com") == 1

    @pytest.mark.parametrize("n", range(2))
    def test_it(n):
        test_without_arguments()
"""


@pytest.fixture
def app(served: Project) -> Project:
    """An application that commits by an engine of its own, and tests that use nothing else."""
    served.models(
        "berth_export = DATABASE_URL = {pg_url}",
        "berth_autouse = pg",
        "berth_autouse_paths = tests/integration",
    )
    served.write(application=APPLICATION)
    for folder, tests in {
        "tests/integration": TESTS,
        "tests/unit": "    def test_unit(): pass\n",
    }.items():
        (served.root / folder).mkdir(parents=True)
        name = f"test_{folder.rpartition('/')[2]}.py"
        (served.root / folder / name).write_text("\n".join(s[4:] for s in tests.splitlines()))
    return served


def test_tests_that_ask_for_nothing_start_clean(app: Project) -> None:
    result = app.run("-vv")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            "*test_unit PASSED *[[]*",
            "*test_it[[]0] PASSED (postgres truncation: berth_export is another way in)*",
        ]
    )


def test_they_are_integration_tests_and_others_are_not(app: Project) -> None:
    app.run("-m", "integration").assert_outcomes(passed=3, deselected=1)


def test_without_paths_it_is_about_all_tests(app: Project) -> None:
    app.models("berth_export = DATABASE_URL = {pg_url}", "berth_autouse = pg")
    app.run("-m", "integration").assert_outcomes(passed=4)


def test_without_an_export_it_is_named_as_the_reason(app: Project) -> None:
    app.models("berth_autouse = pg")
    result = app.run("-vv", "tests/unit")
    result.stdout.fnmatch_lines(
        ["*PASSED (postgres truncation: berth_autouse says that there are other ways in)*"]
    )


def test_seeds_of_a_session_fixture_are_there_for_each_test(app: Project) -> None:
    (app.root / "tests/integration/conftest.py").write_text(
        "import pytest\n"
        "from application import register\n"
        "@pytest.fixture(scope='session', autouse=True)\n"
        "def seeds():\n"
        "    register('seed@example.com')\n"
    )
    (app.root / "tests/integration/test_seeds.py").write_text(
        "from application import emails\n"
        "def test_seeds():\n"
        "    assert emails() == ['seed@example.com']\n"
    )
    app.run().assert_outcomes(passed=5)


def test_it_is_so_under_xdist(app: Project) -> None:
    app.plugins = ("xdist",)
    app.run("-n", "2").assert_outcomes(passed=4)


def test_old_test_cases_are_covered_too(app: Project) -> None:
    (app.root / "tests/integration/test_old.py").write_text(
        "import unittest\n"
        "from application import emails, register\n"
        "class Old(unittest.TestCase):\n"
        "    @classmethod\n"
        "    def setUpClass(cls):\n"
        "        register('class@example.com')\n"
        "    def test_one(self):\n"
        "        register('test@example.com')\n"
        "        assert emails() == ['class@example.com', 'test@example.com']\n"
        "    test_two = test_one\n"
    )
    app.run().assert_outcomes(passed=6)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["berth_autouse = postgres"],
            [
                "*berth_autouse names an unknown service 'postgres'.",
                "  why: berth_autouse = postgres (pytest.ini)",
                "  do:  did you mean 'pg'?",
            ],
        ),
        (
            ["berth_autouse = pg", "berth_autouse_paths = tests/integrations"],
            [
                "*berth_autouse_paths names a path that is not there: 'tests/integrations'.",
                "  why: it is looked for in *berth_autouse_paths = tests/integrations (pytest.ini)",
                "  do:  write it relative to the ini file's directory",
            ],
        ),
    ],
)
def test_what_is_not_there_is_refused(app: Project, lines: list[str], expected: list[str]) -> None:
    app.models("berth_export = DATABASE_URL = {pg_url}", *lines)
    result = app.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(expected)


def test_redis_is_flushed_for_tests_that_ask_for_nothing(project: Project) -> None:
    project.ini("berth_export = REDIS_URL = {redis_url}", "berth_autouse = redis")
    project.write(
        test_it="""
            import os
            import pytest
            import redis

            client = redis.Redis.from_url(os.environ["REDIS_URL"])

            @pytest.mark.parametrize("n", range(2))
            def test_it(n):
                assert client.incr("n") == 1
        """
    )
    project.run().assert_outcomes(passed=2)
