"""Programs that make the schema."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import SettingsError

if TYPE_CHECKING:
    from .conftest import Project


def test_a_command_finds_the_database_in_its_environment(project: Project) -> None:
    project.write("my schema.sql", "CREATE TABLE t ()")
    project.run("command: psql -q -f 'my schema.sql'")
    assert project.tables() == ["t"]


def test_a_command_runs_this_python_and_sees_the_exported_variables(project: Project) -> None:
    project.write(
        "migrate.py",
        """
        import os, sys, sqlalchemy as sa
        assert sys.stdin.read() == ""
        with sa.create_engine(os.environ["DATABASE_URL"]).begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE {sys.argv[1]} ()")
        """,
    )
    project.run("command: python migrate.py t")
    assert project.tables() == ["t"]


def test_a_command_can_run_in_another_directory(project: Project) -> None:
    project.write("back end/schema.sql", "CREATE TABLE t ()")
    project.run("command in back end: psql -q -f schema.sql")
    assert project.tables() == ["t"]


def test_a_directory_that_is_not_there_is_told(project: Project) -> None:
    with pytest.raises(SettingsError) as caught:
        project.run("command in backend: psql -q")
    assert f"the directory {str(project.root / 'backend')!r} was not found." in str(caught.value)


def test_migrations_run_where_their_ini_file_is(project: Project) -> None:
    with pytest.raises(
        SettingsError, match="names a directory, which only a command has"
    ) as caught:
        project.run("alembic in backend: alembic.ini")
    assert "do:  write for example: alembic: backend/alembic.ini" in str(caught.value)


def test_a_failing_command_shows_its_output_without_passwords(project: Project) -> None:
    project.write(
        "fail.py",
        """
        import os, sys
        print("out", os.environ["PGPASSWORD"])
        print("err", os.environ["DATABASE_URL"], file=sys.stderr)
        sys.exit(3)
        """,
    )
    message = project.failure("command: python fail.py")
    assert "'command: python fail.py' ended with exit status 3" in message
    assert "out ***" in message
    assert "err postgresql+psycopg://postgres:***@" in message
    assert f"run it by hand in {project.root}: python fail.py" in message


def test_a_command_that_leaves_a_daemon_behind_does_not_hang(project: Project) -> None:
    project.write(
        "daemon.py",
        """
        import subprocess, sys
        wait = "import signal; signal.alarm(20); signal.pause()"
        child = subprocess.Popen([sys.executable, "-c", wait])
        open("pid", "w").write(str(child.pid))
        """,
    )
    try:
        project.run("command: python daemon.py")
        os.kill(int((project.root / "pid").read_text()), 0)
    finally:
        os.kill(int((project.root / "pid").read_text()), 9)


def test_a_command_that_cannot_be_launched_is_an_error(project: Project) -> None:
    project.write("broken", "not a program")
    (project.root / "broken").chmod(0o755)
    assert "Exec format error" in project.failure("command: ./broken")


def test_a_missing_command_is_an_error(project: Project) -> None:
    with pytest.raises(SettingsError, match="the program 'flywya' was not found"):
        project.run("command: flywya migrate")
