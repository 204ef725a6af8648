"""What ``berth_django`` does to ``DATABASES``, and what the fingerprint of migrations is of."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_berth.config.exports import Export
from pytest_berth.config.options import defaults
from pytest_berth.django.databases import database_name
from pytest_berth.errors import BerthError, SchemaError, SettingsError
from pytest_berth.reporting import hints
from pytest_berth.schema import run_django
from pytest_berth.services.postgres.schema import Target, parse
from pytest_berth.services.postgres.service import POSTGRES

FINGERPRINTS = """
import pathlib, sys
import django
from django.conf import settings
from pytest_berth.schema import django_fingerprint, fingerprint

assert django_fingerprint.of("default", migrates=True) is None
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "shop"],
    DATABASE_ROUTERS=["routers.Router", __import__("more_routers").Router()],
    MIGRATION_MODULES=__import__("more_routers").Modules(),
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "x"}},
)
django.setup()
from django.contrib import contenttypes

def both():
    return [django_fingerprint.of("default", migrates=each) for each in (True, False)]

print(*both())
package = pathlib.Path(contenttypes.__file__).with_name("migrations")
directory, ours = fingerprint.directory, both()
assert ours == both() and ours[0] != ours[1]
# As if a file of an installed package had changed.
fingerprint.directory = lambda place: directory(place) + "!" * (place == package)
assert [a != b for a, b in zip(ours, both())] == [True, False]
fingerprint.directory = directory
for path, changes in (
    ("shop/migrations/0001_initial.py", [True, False]),
    ("shop/migrations/rows.sql", [True, False]),
    ("shop/models.py", [True, True]),
    ("shop/made.py", [True, True]),
    ("routers.py", [True, True]),
    ("more_routers.py", [True, True]),
    ("bases.py", [True, True]),
    ("shop/views.py", [False, False]),
):
    file = pathlib.Path(path)
    before, text = both(), file.read_text()
    file.write_text(text + "# changed")
    assert [a != b for a, b in zip(before, both())] == changes, path
    file.write_text(text)
"""


def test_the_fingerprint_of_migrations_changes_with_what_they_depend_on(tmp_path: Path) -> None:
    files = {
        "shop/__init__.py": "",
        "shop/models.py": "import shop.made\nfrom bases import Base\nclass Product(Base): pass\n",
        "shop/made.py": "from django.db.models.signals import post_migrate\n"
        "def make(**given): pass\npost_migrate.connect(make)\n",
        "shop/views.py": "",
        "shop/migrations/__init__.py": "",
        "shop/migrations/0001_initial.py": "",
        "shop/migrations/rows.sql": "",
        "routers.py": "class Router: pass\n",
        "more_routers.py": "class Router: pass\n"
        "class Modules:\n"
        "    def get(self, name, default=None): return default\n"
        "    def __contains__(self, name): return False\n",
        "bases.py": "from django.db import models\n"
        "class Base(models.Model):\n"
        "    class Meta: abstract = True\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    script = tmp_path / "script.py"
    script.write_text(FINGERPRINTS)
    told = set()
    for _ in range(2):  # two processes, between which nothing stays changed
        done = subprocess.run(
            [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        told.add(done.stdout)
    assert len(told) == 1


def test_an_entry_keeps_what_is_not_of_its_address() -> None:
    entry: dict[str, Any] = {
        "ENGINE": "psqlextra.backend",
        "HOST": "db.invalid",
        "CONN_MAX_AGE": 5,
        "OPTIONS": {"sslmode": "require", "service": "x", "host": "y", "pool": True},
    }
    run_django.lead(
        entry, run_django.address("postgresql://u%40:p%2F@[::1]:54/d%20b?sslmode=disable")
    )
    assert entry == {
        "ENGINE": "psqlextra.backend",
        "NAME": "d b",
        "USER": "u@",
        "PASSWORD": "p/",
        "HOST": "::1",
        "PORT": "54",
        "CONN_MAX_AGE": 5,
        "OPTIONS": {"sslmode": "disable", "pool": True},
    }


def test_an_empty_entry_is_postgres_at_a_socket() -> None:
    entry: dict[str, Any] = {}
    run_django.lead(entry, run_django.address("postgresql://u@/d?host=/run/pg&port=54"))
    assert (entry["ENGINE"], entry["HOST"], entry["PORT"], entry["OPTIONS"]) == (
        "django.db.backends.postgresql",
        "/run/pg",
        "54",
        {},
    )


@pytest.mark.parametrize("engine", ["django.db.backends.sqlite3", "django.db.backends.oracle"])
def test_an_entry_can_lead_nowhere(engine: str) -> None:
    entry: dict[str, Any] = {"ENGINE": engine, "NAME": "dev", "HOST": "db", "USER": "me"}
    run_django.lead_nowhere(entry, "why")
    if "sqlite" in engine:
        assert entry["NAME"] == ":memory:"
    else:
        assert (entry["HOST"], entry["USER"], entry["NAME"]) == ("why.invalid", "", "none")


def test_aliases_of_one_database_are_found() -> None:
    databases: dict[str, dict[str, Any]] = {
        "mirror": {"TEST": {"MIRROR": "second"}},
        "second": {"TEST": {"MIRROR": "default"}},
        "equal": {"NAME": "a"},
        "empty": {},
        "circle": {"TEST": {"MIRROR": "circle"}},
        "elsewhere": {"NAME": "a", "PORT": 1},
        "default": {"NAME": "a", "TEST": None},
    }
    assert run_django.same_databases(databases) == {
        "default": ["default", "equal", "mirror", "second"],
        "empty": ["empty"],
        "circle": ["circle"],
        "elsewhere": ["elsewhere"],
    }


@pytest.mark.parametrize("is_read", [False, True])
def test_databases_are_changed_before_django_works_with_them(is_read: bool) -> None:
    seen = []
    databases: dict[str, Any] = {"default": {}}
    connections = SimpleNamespace(configure_settings=lambda given: seen.append(dict(given)))
    if is_read:
        connections.settings = databases
    undo = run_django.when_configured(connections, lambda given: given.update(ours={}))
    if not is_read:
        connections.configure_settings(databases)
        assert seen == [{"default": {}, "ours": {}}]
    assert "ours" in databases
    undo()


def test_databases_of_further_aliases_have_names_of_their_own() -> None:
    aliases = ["user-data", "user_data", "userdata2", "a-1", "a1", "a12", "_", "1"]
    aliases += [f"customer_analytics_archive_{region}" for region in ("eu", "us", "asia")]
    names: list[str] = []
    for alias in aliases:
        names.append(database_name(alias, names))
    assert len({*names}) == len(aliases)
    assert all(re.fullmatch("[a-z][a-z0-9]{,19}", name) for name in names)
    assert names[:2] == ["userdata", "userdata2"]


PROJECT = """
DATABASES = {"default": {}, "other": {"ENGINE": "django.db.backends.postgresql", "NAME": "mine"}}
SECRET_KEY = "x"
INSTALLED_APPS = ["shop"]
"""


@pytest.mark.parametrize(
    ("line", "error", "shown"),
    [
        ("django: defualt", SettingsError, "names no database of the Django project.\n.*other"),
        ("django: default --fake", SettingsError, "more than an alias.*\n.*--fake.*\n.*--no-migra"),
        ("django in backend: default", SettingsError, "only a command has"),
        ("django:", SettingsError, "not complete.*\n.*\n.*for example: django: default"),
        (
            "django: default",
            SchemaError,
            r"failed: migrate ended with exit status 1.(.|\n)*port 1 ",
        ),
    ],
)
def test_a_line_that_cannot_work_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    error: type[BerthError],
    shown: str,
) -> None:
    (tmp_path / "settings_here.py").write_text(PROJECT.replace('"shop"', ""))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings_here")
    monkeypatch.syspath_prepend(tmp_path)
    dsn = "postgresql://me:secret-word@127.0.0.1:1/there"

    def work() -> None:
        (step,) = parse(line, tmp_path)
        step.check()
        step.run(Target(dsn, dsn, {}, tmp_path, ("secret-word",)))

    with pytest.raises(error, match=shown) as caught:
        work()
    assert "secret-word" not in str(caught.value)


def test_settings_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    (step,) = parse("django: default", tmp_path)
    assert step.fingerprint() is None
    with pytest.raises(SettingsError, match="'django: default' needs DJANGO_SETTINGS_MODULE"):
        step.check()


def test_hints_name_the_setting_that_leads_to_a_server() -> None:
    of_django = Export.of("_BERTH_DJANGO_DEFAULT", "{pg_dsn}", "berth_django")
    own = Export.of("DATABASE_URL", "{pg_url}", "pytest.ini")
    settings = defaults(Path(), POSTGRES.options)

    def telling(*exports: Export) -> object:
        berth: Any = SimpleNamespace(exports=exports, settings=settings)
        return hints.telling(berth, POSTGRES)

    assert telling(of_django) == ("berth_django", ["DATABASES"])
    assert telling(own, of_django) == ("berth_export", ["DATABASE_URL"])
