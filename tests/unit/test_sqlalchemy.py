"""SQLAlchemy is needed by what gives something of it, and by nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_berth.api import Credentials, Server
from pytest_berth.errors import MissingExtraError, PackageError
from pytest_berth.services.postgres import sqlalchemy_compat, urls

SERVER = Server("postgres", "local", "localhost", 5, Credentials("me", "", "postgres"))
# What else is there can be imported without SQLAlchemy.
WITHOUT = """
import pkgutil, sys, pytest_berth
from importlib import import_module
sys.modules["sqlalchemy"] = None
aio = "pytest_berth.services.postgres.asynchronous."
gives_it = {aio + name for name in ("open_connections", "asyncpg_engine", "psycopg_engine")}
gives_it |= {"pytest_berth.isolation.async_connections", "pytest_berth.services.mysql.asynchronous"}
for found in pkgutil.walk_packages(pytest_berth.__path__, "pytest_berth."):
    if found.name not in gives_it:
        import_module(found.name)
"""


def test_everything_but_what_gives_something_of_it_can_be_imported_without() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_one_is_told_with_the_fixtures_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlalchemy_compat, "version", lambda: ())
    with pytest.raises(MissingExtraError, match=r"^pg_session needs .*'sqlalchemy'"):
        sqlalchemy_compat.require_for({"pg_url", "pg_session"})
    sqlalchemy_compat.require_for({"pg_url", "pg_dsn", "pg_database"})


def test_one_that_is_too_old_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlalchemy_compat, "version", lambda: (1, 3, 24))
    with pytest.raises(
        PackageError, match=r"^pg_engine needs SQLAlchemy 1\.4\.26 or newer\."
    ) as old:
        sqlalchemy_compat.require_for({"pg_engine"})
    assert "why: SQLAlchemy 1.3.24 is installed" in str(old.value)
    monkeypatch.setattr(sqlalchemy_compat, "version", lambda: (1, 4, 54))
    with pytest.raises(PackageError, match=r"^pg_async_session needs .* 2\.0\.16 or newer\."):
        sqlalchemy_compat.require_for({"pg_async_session"})


def test_version_1_4_needs_psycopg2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlalchemy_compat, "version", lambda: (1, 4, 54))
    monkeypatch.setattr(sqlalchemy_compat, "find_spec", lambda name: None)
    with pytest.raises(PackageError, match=r"^pg_session needs the package 'psycopg2'"):
        sqlalchemy_compat.require_for({"pg_session"})


@pytest.mark.parametrize(
    ("version", "scheme"),
    [((2, 1, 0), "postgresql+psycopg"), ((1, 4, 54), "postgresql+psycopg2"), ((), "postgresql")],
)
def test_the_url_is_for_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], scheme: str
) -> None:
    monkeypatch.setattr(sqlalchemy_compat, "version", lambda: version)
    assert urls.url(SERVER, "shop") == f"{scheme}://me@localhost:5/shop"
    assert f"{urls.Template(SERVER, 'shop')}" == f"{scheme}://me@localhost:5/shop"
    assert f"{urls.Template(SERVER, 'shop'):asyncpg}".startswith("postgresql+asyncpg://")
