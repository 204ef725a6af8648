"""Seeds of a single test: ``@pytest.mark.berth_pg(seed=...)``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project


@pytest.mark.parametrize("isolation", ["rollback", "truncation"])
def test_a_seed_is_there_for_its_test_and_gone_afterwards(served: Project, isolation: str) -> None:
    served.models(f"berth_pg_isolation = {isolation}")
    with (served.root / "models.py").open("a") as stream:
        stream.write(
            "\n\ndef seed(connection):\n"
            "    from sqlalchemy import insert\n"
            "    connection.execute(insert(User).values(email='seeded'))\n"
        )
    (served.root / "users.sql").write_text("INSERT INTO users (email) VALUES ('seeded');")
    served.write(
        test_it="""
            import models
            import pytest
            from pathlib import Path
            from sqlalchemy import select

            SEEDS = (
                "users.sql",
                ["users.sql"],
                ["models:seed"],
                [models.seed],
                [Path("users.sql")],
            )
            MARKED = [pytest.param(1, marks=pytest.mark.berth_pg(seed=seed)) for seed in SEEDS]

            @pytest.mark.parametrize("n", [1, 2])
            @pytest.mark.parametrize("seed", MARKED)
            def test_seeded(pg_session, seed, n):
                found = pg_session.execute(select(models.User.id, models.User.email)).all()
                assert found == [(1, "seeded")]

            def test_without(pg_session):
                assert pg_session.scalars(select(models.User)).all() == []
        """
    )
    served.run().assert_outcomes(passed=11)


def test_seeds_of_a_test_come_after_those_of_the_run(served: Project) -> None:
    served.models("berth_pg_seed = one.sql")
    (served.root / "one.sql").write_text("INSERT INTO users (email) VALUES ('one');")
    (served.root / "two.sql").write_text(
        "INSERT INTO users (email) SELECT email || '-two' FROM users;"
    )
    served.write(
        test_it="""
            import pytest
            from sqlalchemy import text

            @pytest.mark.berth_pg(seed="two.sql")
            def test_seeded(pg_connection):
                found = pg_connection.scalars(text("SELECT email FROM users ORDER BY id")).all()
                assert found == ["one", "one-two"]
        """
    )
    served.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("isolation", ["rollback", "truncation"])
def test_a_seed_that_fails_fails_its_test_only_and_leaves_nothing(
    served: Project, isolation: str
) -> None:
    served.models(f"berth_pg_isolation = {isolation}")
    (served.root / "bad.sql").write_text(
        "INSERT INTO users (email) VALUES ('x');\nINSERT INTO userz VALUES (1);\n"
    )
    served.write(
        test_it="""
            import pytest
            from sqlalchemy import text

            @pytest.mark.berth_pg(seed="bad.sql")
            def test_seeded(pg_session): pass

            def test_next(pg_session):
                assert pg_session.scalar(text("SELECT count(*) FROM users")) == 0
        """
    )
    result = served.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*bad.sql*", "*userz*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_files_of_rows_are_chosen_by_parameters(served: Project) -> None:
    example = Path(__file__).parents[2] / "docs/examples/rows"
    shutil.copytree(example, served.root, dirs_exist_ok=True)
    served.run("-v").assert_outcomes(passed=4)
    (served.root / "test_wrong.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.berth_pg(seed='abroad/{land}.yaml')\n"
        "@pytest.mark.parametrize('lang', ['FR'])\n"
        "def test_it(pg_session, lang): pass\n"
    )
    result = served.run("test_wrong.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*'abroad/{land}.yaml' names a parameter that the test has not.", "*did you mean 'lang'?"]
    )
