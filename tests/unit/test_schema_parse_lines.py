"""What lines, and objects of fixtures, become; and what is said about those that are wrong."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from pytest_berth.errors import SettingsError
from pytest_berth.services.postgres.schema import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a package ``shop_models`` that can be imported."""
    package = tmp_path / "src" / "shop_models"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from sqlalchemy import MetaData\n"
        "from sqlalchemy.orm import DeclarativeBase\n"
        "class Base(DeclarativeBase): pass\n"
        "VERSION = 3\n"
        "def seed(connection): pass\n"
        "def nothing(): pass\n"
        "def fixture(connection): yield\n"
        "async def later(connection): pass\n"
    )
    (package / "broken.py").write_text("import os\n\nvalue = 1 / 0\n")
    (package / "needy.py").write_text("import not_installed_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("shop_models")]:
        del sys.modules[name]


def problem(item: object, root: Path) -> str:
    """Return what parsing and checking *item* complains about."""
    with pytest.raises(SettingsError) as caught:
        check(item, root)
    return str(caught.value)


def check(item: object, root: Path) -> None:
    """Parse *item* and check all of it."""
    for step in parse(item, root):
        step.check()


@pytest.mark.parametrize(
    "line",
    ["shop_models:Base.metadata", "shop_models:Base", "shop_models:seed", "shop_models : seed"],
)
def test_a_dotted_attribute_is_found(project: Path, line: str) -> None:
    (step,) = parse(line, project)
    step.check()
    assert step.line == line


def test_a_wrong_attribute_is_answered_with_the_nearest(project: Path) -> None:
    message = problem("shop_models:Bas.metadata", project)
    assert "'shop_models' has no attribute 'Bas'" in message
    assert "did you mean 'Base'?" in message


def test_a_wrong_attribute_of_a_class_is_answered_with_the_nearest(project: Path) -> None:
    assert "did you mean 'metadata'?" in problem("shop_models:Base.metadat", project)


def test_an_attribute_that_is_neither_metadata_nor_callable_is_refused(project: Path) -> None:
    message = problem("shop_models:VERSION", project)
    assert "it is of type int" in message
    assert "package.module:Base.metadata" in message


def test_a_module_that_is_not_found_names_pythonpath(tmp_path: Path) -> None:
    (tmp_path / "unseen_app").mkdir()
    (tmp_path / "unseen_app" / "__init__.py").touch()
    message = problem("unseen_ap.models:Base.metadata", tmp_path)
    assert "the module 'unseen_ap.models' was not found" in message
    assert "set `pythonpath = .` in pytest.ini" in message
    assert "did you mean 'unseen_app'?" in message


def test_a_module_in_src_names_that_directory(tmp_path: Path) -> None:
    (tmp_path / "src" / "unseen_app").mkdir(parents=True)
    assert "`pythonpath = src`" in problem("unseen_app.models:Base.metadata", tmp_path)


def test_a_wrong_submodule_is_answered_with_the_nearest(project: Path) -> None:
    message = problem("shop_models.brocken:Base", project)
    assert "did you mean 'broken'?" in message
    assert "pythonpath" not in message


def test_a_module_that_raises_names_its_file_and_line(project: Path) -> None:
    message = problem("shop_models.broken:Base", project)
    assert "the module 'shop_models.broken' could not be imported" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "src/shop_models/broken.py:3" in message


def test_a_module_that_lacks_a_dependency_is_not_called_missing(project: Path) -> None:
    message = problem("shop_models.needy:Base", project)
    assert "could not be imported" in message
    assert "No module named 'not_installed_at_all'" in message


def test_a_function_without_an_argument_is_refused(project: Path) -> None:
    message = problem("shop_models:nothing", project)
    assert "cannot be called with a connection" in message
    assert "its signature is ()" in message


@pytest.mark.parametrize("name", ["fixture", "later"])
def test_a_function_that_does_nothing_when_called_is_refused(project: Path, name: str) -> None:
    assert "calling it does nothing" in problem(f"shop_models:{name}", project)


def test_objects_paths_and_nested_sequences_become_steps(tmp_path: Path) -> None:
    def seed(connection: sa.Connection) -> None: ...

    (tmp_path / "a.sql").write_text("SELECT 1")
    items = [sa.MetaData(), (seed, tmp_path / "a.sql", ["a.sql", "command: true"])]
    lines = [step.line for step in parse(items, tmp_path)]
    assert lines[0] == "MetaData()"
    assert lines[1].endswith(":test_objects_paths_and_nested_sequences_become_steps.<locals>.seed")
    assert lines[2:] == ["a.sql", "a.sql", "command: true"]
    assert parse([], tmp_path) == ()


@pytest.mark.parametrize("item", [None, 3, {"a"}, b"a.sql"])
def test_other_objects_are_refused_with_the_forms(tmp_path: Path, item: object) -> None:
    message = problem(item, tmp_path)
    assert "cannot make a schema" in message
    assert "command: flyway migrate" in message


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("app.models", "a colon is missing: app:models?"),
        ("app.models.Base.metadata", "a colon is missing: app.models:Base.metadata?"),
        ("alembic:", "nothing comes after 'alembic'"),
        ("command:  ", "nothing comes after 'command'"),
        ("comand: flyway migrate", "did you mean 'command'?"),
        ("command: echo 'open", "No closing quotation"),
        ("command: cat a.sql | psql", "would be given '|' as a word"),
        ("command: psql <a.sql", "would be given '<a.sql' as a word"),
        ("command: a && b", "would be given '&&' as a word"),
        ("command: make 2>&1", "would be given '2>&1' as a word"),
        ("command: psql < a.sql", "would be given '<' as a word"),
        ("command: psql <a.sql >log", "would be given '<a.sql' as a word"),
        ("command: find -exec cat {} ;", "is meant, put it in quotes: ';'"),
        ('"app.models:Base.metadata"', "neither quotes nor brackets: app.models:Base.metadata?"),
        ("['a.sql']", "neither quotes nor brackets: a.sql?"),
        ("sql/good.sq", "it does not end in .sql: sql/good.sql?"),
        ("alembic.ini", "a word is missing before the file: alembic: alembic.ini?"),
        ("alembic:alembic.ini", "a blank is missing after the colon: alembic: alembic.ini?"),
        ("command in a:b c", "a blank is missing after the colon: command in a: b c?"),
        ("schema.txt is here", "nor does it end in .sql"),
        ("", "nor does it end in .sql"),
        ("1app:Base", "neither module:attribute"),
    ],
)
def test_a_line_of_no_kind_says_what_is_wrong(tmp_path: Path, line: str, why: str) -> None:
    assert why in problem(line, tmp_path)


def test_a_path_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert "only .sql files" in problem(tmp_path / "alembic.ini", tmp_path)


def test_a_missing_sql_file_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "schema.sql").touch()
    message = problem("shema.sql", tmp_path)
    assert "no file matches 'shema.sql'" in message
    assert f"it is looked for in {tmp_path}" in message
    assert "did you mean 'schema.sql'?" in message


def test_a_glob_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    assert "no file matches 'sql/*.sql'" in problem("sql/*.sql", tmp_path)


def test_a_missing_ini_is_answered_with_the_nearest_of_alembics(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert "do:  write it relative to" in problem("alembic: alembc.ini", tmp_path)
    (tmp_path / "alembic.ini").write_text("[alembic]\n")
    message = problem("alembic: alembc.ini", tmp_path)
    assert "'alembc.ini' was not found" in message
    assert "did you mean 'alembic.ini'?" in message


def test_missing_alembic_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alembic.ini").touch()
    (tmp_path / "alembic").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert "pip install alembic" in problem("alembic: alembic.ini", tmp_path)


@pytest.mark.parametrize("program", ["no-such-program-here", "./no-such-program-here"])
def test_a_missing_program_is_an_error(tmp_path: Path, program: str) -> None:
    message = problem(f"command: {program} migrate", tmp_path)
    assert f"the program {program!r} was not found" in message
    assert "PATH is " in message


def test_backslash_lines_need_psql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dump.sql").write_text("SELECT 1;\n\\i other.sql\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pytest_berth.services.postgres.schema.psql.PLACES", ())
    message = problem("dump.sql", tmp_path)
    assert "dump.sql needs the program psql" in message
    assert "a dump of pg_dump needs none" in message


@pytest.mark.parametrize("line", ["\\connect other", "\\c -reuse-previous=on \"dbname='x'\""])
def test_a_dump_does_not_go_to_another_database(tmp_path: Path, line: str) -> None:
    (tmp_path / "dump.sql").write_text(f"CREATE DATABASE other;\n{line}\nSELECT 1;\n")
    message = problem("dump.sql", tmp_path)
    assert message.startswith("dump.sql:2 connects to another database.")
    assert "without --create (-C)" in message


@pytest.mark.parametrize(
    "line",
    [
        "command: sh -c 'cat a.sql | psql > log'",
        """command: psql -c "SELECT 'a' < 'b'; SELECT '|'" """,
        "command: flyway -url=jdbc:postgresql://host/db?a=1&b=2 -x=a>b migrate",
        "command: echo \\| x",
        "command: find -exec cat {} ';'",
        "command: migrate --to <revision> <name>",
        "command: require migrations >=1 <=3",
    ],
)
def test_what_shells_understand_may_stand_within_words_and_quotes(
    tmp_path: Path, line: str
) -> None:
    assert len(parse(line, tmp_path)) == 1
