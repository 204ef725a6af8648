"""Alembic projects of several kinds, upgraded as in production."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import alembic
import pytest
from psycopg import sql

from pytest_berth.services.postgres.schema import parse

if TYPE_CHECKING:
    from .conftest import Postgres, Project

MODELS = """
import sqlalchemy as sa
metadata = sa.MetaData()
sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True))
"""
FIRST = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "0001", None, None, None
def upgrade():
    op.create_table("users", sa.Column("id", sa.Integer, primary_key=True))
def downgrade():
    op.drop_table("users")
"""
OTHER_BRANCH = """
from alembic import op
revision, down_revision, branch_labels, depends_on = "0002", None, ("other",), "0001"
def upgrade():
    op.execute("CREATE TABLE other ()")
def downgrade(): ...
"""
READS_VARIABLE = """
import os
from alembic import context
from sqlalchemy import create_engine
URL = os.environ["{name}"]
with create_engine(URL).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


def make(project: Project, template: str = "generic", directory: str = "migrations") -> None:
    """Make an Alembic project as its own command does, with a model and a migration."""
    for name, text in _made(template, directory).items():
        project.root.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        project.root.joinpath(name).write_bytes(text)
    project.write("app_models.py", MODELS)
    project.write(f"{directory}/versions/0001_first.py", FIRST)


@cache
def _made(template: str, directory: str) -> dict[Path, bytes]:
    """Return the files that Alembic's own command makes, which runs once for all tests."""
    with tempfile.TemporaryDirectory() as place:
        options = ["-c", "alembic.ini", "init", "-t", template, directory]
        command = [sys.executable, "-m", "alembic", *options]
        subprocess.run(command, cwd=place, check=True, capture_output=True)
        found = filter(Path.is_file, Path(place).rglob("*"))
        return {path.relative_to(place): path.read_bytes() for path in found}


def edit(project: Project, name: str, old: str, new: str) -> None:
    """Replace a text that must be there."""
    path = project.root / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def with_models(project: Project) -> None:
    """Let env.py compare with the models."""
    imported = "from app_models import metadata as target_metadata"
    edit(project, "migrations/env.py", "target_metadata = None", imported)


@pytest.mark.parametrize("template", ["generic", "async", "pyproject"])
def test_a_project_of_a_template_is_upgraded(project: Project, template: str) -> None:
    if not (Path(alembic.__file__).parent / "templates" / template).exists():
        pytest.skip(f"Alembic {alembic.__version__} has no template {template}")
    if template == "async":
        pytest.importorskip("greenlet", reason="SQLAlchemy's asyncio needs greenlet")
    make(project, template)
    again = ["alembic: alembic.ini"] if template == "generic" else []
    project.run(["alembic: alembic.ini", *again])
    assert project.tables() == ["alembic_version", "users"]
    assert project.query("SELECT version_num FROM alembic_version") == [("0001",)]


def test_the_driver_of_the_project_is_kept(project: Project) -> None:
    for needed in ("asyncpg", "greenlet"):
        pytest.importorskip(needed)
    make(project, "async")
    edit(project, "alembic.ini", "driver://user:pass@localhost/dbname", "postgresql+asyncpg://x/y")
    edit(
        project,
        "migrations/env.py",
        'prefix="sqlalchemy.",',
        'prefix="sqlalchemy.", connect_args={"statement_cache_size": 0},',
    )
    project.run("alembic: alembic.ini")
    assert "users" in project.tables()


def test_an_env_that_reads_the_applications_variable_is_upgraded(project: Project) -> None:
    make(project)
    project.write("migrations/env.py", READS_VARIABLE.format(name="DATABASE_URL"))
    project.run("alembic: alembic.ini")
    assert "users" in project.tables()


def test_the_ini_may_be_in_a_directory_below(project: Project) -> None:
    below = replace(project, target=replace(project.target, root=project.root / "backend"))
    below.root.mkdir()
    make(below)
    project.run("alembic: backend/alembic.ini")
    assert "users" in project.tables()


@pytest.mark.parametrize("package", [False, True])
def test_a_directory_that_is_named_alembic_does_no_harm(project: Project, package: bool) -> None:
    make(project, directory="alembic")
    edit(project, "alembic.ini", "prepend_sys_path = .", "")
    if package:
        project.write("alembic/__init__.py", "")
    project.run("alembic: alembic.ini")
    assert "users" in project.tables()


def test_modules_that_pytest_finds_are_found_by_migrations(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(project)
    with_models(project)
    edit(project, "alembic.ini", "prepend_sys_path = .", "")
    project.write("src/app_models.py", MODELS)
    (project.root / "app_models.py").unlink()
    monkeypatch.syspath_prepend(str(project.root / "src"))
    project.run("alembic: alembic.ini")
    assert "users" in project.tables()


def test_the_suites_loggers_and_modules_stay_untouched(project: Project) -> None:
    make(project)
    with_models(project)
    logger = logging.getLogger("suite.of.this.test")
    project.run("alembic: alembic.ini")
    assert not logger.disabled
    assert "app_models" not in sys.modules


def test_branches_that_depend_on_each_other_arrive_at_their_heads(project: Project) -> None:
    make(project)
    project.write("migrations/versions/0002_other.py", OTHER_BRANCH)
    project.run("alembic: alembic.ini")
    assert project.tables() == ["alembic_version", "other", "users"]


def test_a_version_table_of_another_name_and_schema_is_found(project: Project) -> None:
    make(project)
    edit(
        project,
        "migrations/env.py",
        "connection=connection, target_metadata=target_metadata",
        'connection=connection, version_table="v", version_table_schema="meta"',
    )
    project.write("meta.sql", "CREATE SCHEMA meta")
    project.run(["meta.sql", "alembic: alembic.ini"])
    assert project.query("SELECT version_num FROM meta.v") == [("0001",)]


def test_another_database_is_refused_and_not_touched(project: Project, postgres: Postgres) -> None:
    make(project)
    project.write("migrations/env.py", READS_VARIABLE.format(name="OTHER_URL"))
    name = f"elsewhere_{os.getpid()}"
    postgres.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = postgres.dsn(name).replace("postgresql:", "postgresql+psycopg:")
    environment = {**project.target.environment, "OTHER_URL": url}
    other = replace(project, target=replace(project.target, environment=environment))
    try:
        message = other.failure("alembic: alembic.ini")
        elsewhere = replace(project, target=replace(project.target, dsn=postgres.dsn(name)))
        assert elsewhere.tables() == []
    finally:
        postgres.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
    assert "does not migrate the test database: it connects to another one" in message
    assert f"env.py connects to postgresql+psycopg://postgres:***@127.0.0.1:{postgres.port}/" in (
        message
    )
    assert "berth_export = DATABASE_URL = {pg_url}" in message
    assert project.tables() == []


def test_another_kind_of_database_is_refused(project: Project) -> None:
    make(project)
    project.write("migrations/env.py", READS_VARIABLE.format(name="OTHER_URL"))
    environment = {**project.target.environment, "OTHER_URL": "sqlite:///app.db"}
    other = replace(project, target=replace(project.target, environment=environment))
    assert "env.py connects to sqlite:///app.db" in other.failure("alembic: alembic.ini")


def test_migrations_that_are_not_committed_are_an_error(project: Project) -> None:
    make(project)
    env = READS_VARIABLE.format(name="DATABASE_URL").replace(
        "with context.begin_transaction():", "with connection.begin() as outer:"
    )
    project.write("migrations/env.py", f"{env}        outer.rollback()\n")
    message = project.failure("alembic: alembic.ini")
    assert "did not bring the database to the heads" in message
    assert "context.begin_transaction()" in message


def test_an_env_that_migrates_nothing_is_an_error(project: Project) -> None:
    make(project)
    project.write("migrations/env.py", "")
    assert "ran no migrations" in project.failure("alembic: alembic.ini")


def test_a_failing_migration_shows_alembics_output(project: Project) -> None:
    make(project)
    edit(
        project,
        "migrations/versions/0001_first.py",
        "    op.create_table",
        '    import os; print(os.environ["PGPASSWORD"]); op.execute("SELECT missing")\n'
        "    op.create_table",
    )
    message = project.failure("alembic: alembic.ini")
    assert "'alembic: alembic.ini' failed: alembic upgrade heads ended with exit status 1" in (
        message
    )
    assert 'column "missing" does not exist' in message
    assert "***" in message
    assert "migrations/versions/0001_first.py" in message
    assert "site-packages" not in message
    assert project.tables() == []


def test_no_password_is_on_the_command_line(project: Project) -> None:
    make(project)
    project.write(
        "migrations/env.py",
        "import sys, pathlib\n"
        "pathlib.Path('told').write_text(pathlib.Path('/proc/self/cmdline').read_text())\n"
        + READS_VARIABLE.format(name="DATABASE_URL"),
    )
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("this system has no /proc")
    project.run("alembic: alembic.ini")
    told = (project.root / "told").read_text()
    assert "alembic.ini" in told
    assert "postgresql" not in told


def test_drift_is_ignored_unless_asked_for(project: Project) -> None:
    make(project)
    with_models(project)
    edit(
        project,
        "app_models.py",
        '"users", metadata',
        '"users", metadata, sa.Column("age", sa.Integer)',
    )
    project.run("alembic: alembic.ini")
    message = project.failure("alembic: alembic.ini", check_drift=True)
    assert "'alembic: alembic.ini' and the models differ" in message
    assert "('add_column', None, 'users', Column('age', Integer()" in message
    assert "alembic revision --autogenerate" in message


def test_models_that_fit_have_no_drift(project: Project) -> None:
    make(project)
    with_models(project)
    project.run("alembic: alembic.ini", check_drift=True)


def test_a_step_made_twice_is_the_same(project: Project) -> None:
    assert parse("alembic: a.ini", project.root) == parse("alembic: a.ini", project.root)
