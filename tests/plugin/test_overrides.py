"""``pg_schema`` and ``pg_seed``, overridden in conftest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from marks import nightly, usual

if TYPE_CHECKING:
    from conftest import Project

FORMS = {
    "a MetaData": "models.Base.metadata",
    "a function": "create",
    "a path": "Path('schema.sql')",
    "a line": "'models:Base.metadata'",
    "a list": "[models.Base.metadata, 'models:Base.metadata', create, Path('more.sql')]",
}
OVERRIDE = """
    import pytest
    import models
    from pathlib import Path

    def create(connection):
        models.Base.metadata.create_all(connection)

    def seed(connection):
        connection.execute(models.User.__table__.insert().values(email="seeded"))

    @pytest.fixture(scope="session")
    def pg_schema():
        return {schema}

    @pytest.fixture(scope="session")
    def pg_seed():
        return {seed}
"""


@pytest.fixture
def plain(served: Project) -> Project:
    """A project with models, and no schema in its ini file."""
    served.models()
    served.ini()
    (served.root / "schema.sql").write_text(
        "CREATE TABLE users (id serial PRIMARY KEY, email text UNIQUE);"
    )
    (served.root / "more.sql").write_text("CREATE TABLE more (id int);")
    served.write(
        test_it="""
            from sqlalchemy import select
            from models import User

            def test_it(pg_session):
                assert pg_session.scalars(select(User.email)).all() == ["seeded"]
        """
    )
    return served


@pytest.mark.parametrize("form", usual(FORMS, "a list"))
def test_the_schema_may_be_overridden_by(plain: Project, form: str) -> None:
    plain.conftest(OVERRIDE.format(schema=FORMS[form], seed="seed"))
    plain.run().assert_outcomes(passed=1)


def test_an_override_may_extend_what_the_ini_file_says(plain: Project) -> None:
    plain.ini("berth_pg_schema = models:Base.metadata")
    plain.conftest(
        """
        import pytest
        import models

        def seed(connection):
            connection.execute(models.User.__table__.insert().values(email="seeded"))

        @pytest.fixture(scope="session")
        def pg_seed(pg_seed):
            return [*pg_seed, seed]
        """
    )
    plain.run().assert_outcomes(passed=1)


def test_an_override_for_some_tests_only_is_a_usage_error(plain: Project) -> None:
    inner = plain.root / "inner"
    inner.mkdir()
    (inner / "conftest.py").write_text(
        "import pytest\n@pytest.fixture(scope='session')\ndef pg_schema(): return []\n"
    )
    (inner / "test_inner.py").write_text("def test_inner(pg_session): pass\n")
    result = plain.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: pg_schema is overridden for some of the tests only.",
            "*why:*inner/test_inner.py::test_inner gets it from *conftest*",
            "*do:  override it once, in the top conftest.py",
        ]
    )


@pytest.mark.parametrize("value", ["[3.5]", *nightly("7", "object()")])
def test_an_override_that_is_nothing_usable_fails_with_the_valid_forms(
    plain: Project, value: str
) -> None:
    plain.conftest(OVERRIDE.format(schema=value, seed="seed"))
    result = plain.run()
    result.assert_outcomes(errors=1)
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.fnmatch_lines(["  do:*"])


def test_an_override_of_function_scope_is_refused_by_pytest(plain: Project) -> None:
    plain.conftest("import pytest\n\n@pytest.fixture\ndef pg_schema(): return []")
    plain.run().stdout.fnmatch_lines(["*ScopeMismatch*"])


def test_a_test_of_the_server_alone_is_no_override(plain: Project) -> None:
    plain.write(test_it="def test_server(pg_server): pass\ndef test_session(pg_session): pass")
    plain.run().assert_outcomes(passed=2)
