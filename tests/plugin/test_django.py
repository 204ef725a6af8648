"""``berth_django``: a Django project's databases are berth's, with pytest-django or without."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

pytest.importorskip("django")
pytest.importorskip("pytest_django")

SETTINGS = """
    from pathlib import Path

    HERE = Path(__file__).parent
    elsewhere = {"ENGINE": "django.db.backends.postgresql", "HOST": "db.invalid", "PORT": 1}
    given = {"options": "-c lock_timeout=4321ms", "sslmode": "require", "service": "nobody"}
    DATABASES = {
        "default": {
            **elsewhere,
            "NAME": "shop",
            "OPTIONS": given,
            "ATOMIC_REQUESTS": True,
            "CONN_MAX_AGE": 60,
        },
        "replica": {**elsewhere, "HOST": "replica.invalid", "TEST": {"MIRROR": "default"}},
        "user-data": {**elsewhere, "NAME": "users"},
        "again": {**elsewhere, "NAME": "users"},
        "files": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "dev.db"},
    }
    DATABASE_ROUTERS = ["routers.ByModel"]
    INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "loose", "shop"]
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    SECRET_KEY = "of tests"
    USE_TZ = True
"""
ROUTERS = """
    PLACES = {"event": "user-data", "page": "files"}

    class ByModel:
        def place(self, model, **hints):
            return PLACES.get(model._meta.model_name)

        db_for_read = db_for_write = place

        def allow_migrate(self, db, app_label, model_name=None, **hints):
            return db == PLACES.get(model_name, "default")
"""
# As an application that makes an engine of its own from Django's settings.
ON_IMPORT = """
from django.conf import settings

assert settings.DATABASES["default"]["HOST"] != "db.invalid"
"""
SHOP = """
    from django.db import models

    class Product(models.Model):
        name = models.CharField(max_length=30)
"""
LOOSE = """
    from django.db import models

    class Event(models.Model):
        name = models.CharField(max_length=30)

    class Page(models.Model):
        name = models.CharField(max_length=30)
"""
MIGRATION = """
    from django.db import migrations, models

    def add(apps, editor):
        apps.get_model("shop", "Product").objects.create(name="of a migration")

    class Migration(migrations.Migration):
        initial = True
        operations = [
            migrations.CreateModel(
                "Product",
                [
                    ("id", models.BigAutoField(primary_key=True)),
                    ("name", models.CharField(max_length=30)),
                ],
            ),
            migrations.RunPython(add),
        ]
"""
CASES = """
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType
    from django.core import mail
    from django.db import connections
    from django.test import SimpleTestCase, TestCase, TransactionTestCase

    from loose.models import Event, Page
    from shop.models import Product

    def names():
        return sorted(Product.objects.values_list("name", flat=True))

    class Steps:
        found = ["of a migration"]

        def step(self):
            assert names() == self.found
            made = Product.objects.create(name="mine")
            assert made.pk == len(self.found) + 1
            kind = ContentType.objects.get_for_model(Product)
            assert Permission.objects.create(content_type=kind, codename="mine")

        def test_first(self):
            self.step()

        def test_second(self):
            self.step()

    class RolledBack(Steps, TestCase):
        pass

    class Flushed(Steps, TransactionTestCase):
        pass

    class Serialized(Steps, TransactionTestCase):
        serialized_rollback = True

    class Fresh(Steps, TransactionTestCase):
        reset_sequences = True

    class Several(TestCase):
        databases = "__all__"

        def step(self):
            assert (Event.objects.count(), Page.objects.count()) == (0, 0)
            assert Event.objects.create(name="e").pk == 1
            Page.objects.create(name="p")

        def test_first(self):
            self.step()

        def test_second(self):
            self.step()

    class SeveralFlushed(Several, TransactionTestCase):
        databases = {"default", "user-data", "again"}

        def step(self):
            assert Event.objects.count() == 0
            assert Event.objects.using("again").create(name="e").pk == 1

    class Places(TestCase):
        databases = "__all__"

        def test_what_the_entries_say_beside_the_address_is_kept(self):
            entry = connections["default"].settings_dict
            assert entry["ATOMIC_REQUESTS"] and entry["CONN_MAX_AGE"] == 60
            with connections["default"].cursor() as cursor:
                cursor.execute("SHOW lock_timeout")
                assert cursor.fetchone() == ("4321ms",)

        def test_aliases_of_one_database_lead_to_one(self):
            names = {each.alias: each.settings_dict["NAME"] for each in connections.all()}
            assert names["default"] == names["replica"]
            assert names["user-data"] == names["again"] != names["default"]
            assert "dev.db" not in str(names["files"])

    class WithoutDatabase(SimpleTestCase):
        def test_it_has_the_outbox(self):
            assert mail.outbox == []
"""
FUNCTIONS = """
    import pytest
    from django.contrib.contenttypes.models import ContentType
    from shop.models import Product

    @pytest.mark.django_db
    @pytest.mark.parametrize("run", "ab")
    def test_rolled_back(run):
        Product.objects.create(name="mine")
        assert Product.objects.count() == 3

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("run", "ab")
    def test_committed(run):
        Product.objects.create(name="mine")
        assert Product.objects.count() == 3

    def test_the_rows_of_content_types_are_those_that_were_migrated(transactional_db):
        kind = ContentType.objects.get_for_model(Product)
        assert ContentType.objects.get(pk=kind.pk).model == "product"

    def test_without_database():
        with pytest.raises(RuntimeError, match="Database access not allowed"):
            Product.objects.count()
"""
SESSIONS_ROW = """
    import pytest
    import test_cases
    from django.conf import settings
    from django.test.utils import setup_databases

    def pytest_configure():
        settings.DATABASES["default"]["HOST"] = "db.invalid"

    @pytest.fixture(scope="session")
    def django_db_setup(django_db_setup, django_db_blocker):
        with django_db_blocker.unblock():
            # As suites do that were written before.
            assert not [each for each, *_ in setup_databases(0, False) if each.alias == "default"]
        with django_db_blocker.unblock():
            from shop.models import Product

            Product.objects.create(name="of the session")

    test_cases.Steps.found = ["of a migration", "of the session"]
"""


@pytest.fixture
def site(served: Project) -> Project:
    """Give a Django project of several databases, and tests of its own classes."""
    served.write(settings=SETTINGS, routers=ROUTERS, test_cases=CASES)
    for app, models in (("shop", SHOP), ("loose", LOOSE)):
        served.pytester.mkpydir(app)
        served.pytester.makepyfile(**{f"{app}/models": models})
    (served.root / "shop" / "__init__.py").write_text(ON_IMPORT)
    served.pytester.mkpydir("shop/migrations")
    served.pytester.makepyfile(**{"shop/migrations/0001_initial": MIGRATION})
    served.ini("DJANGO_SETTINGS_MODULE = settings", "berth_django = true")
    return served


def test_databases_are_cloned_for_each_worker_and_clean_for_each_test(site: Project) -> None:
    site.plugins = ("django", "randomly", "xdist")
    site.write(test_functions=FUNCTIONS)
    site.conftest(SESSIONS_ROW)
    result = site.run("-n2", "--reuse-db", "-v")
    result.assert_outcomes(passed=21)
    result.stdout.fnmatch_lines(
        [
            "berth: *, berth_pg_schema = django: default (berth_django),"
            " berth_pg_databases = userdata = django: user-data (berth_django)",
            "berth: databases of Django: default, replica, user-data, again",
            "berth: --reuse-db has nothing to do for them: --berth-keep 15m *",
        ]
    )
    assert not (site.root / "dev.db").exists()


def test_djangos_classes_need_no_plugin_of_django_and_migrations_can_be_left_out(
    site: Project,
) -> None:
    failing = re.sub("apps.get_model.*", "raise RuntimeError", MIGRATION)
    site.pytester.makepyfile(**{"shop/migrations/0001_initial": failing})
    site.conftest("import test_cases\ntest_cases.Steps.found = []")
    site.ini(
        "DJANGO_SETTINGS_MODULE = settings",
        "berth_django = true",
        "berth_pg_schema = django: default --no-migrations",
    )
    result = site.run("-v")
    result.assert_outcomes(passed=15)
    assert not re.search("Unknown config option", result.stdout.str())


WRONG = {
    "a variable that settings need": (
        {"settings": "import os; os.environ['SHOP_DATABASE']"},
        "DJANGO_SETTINGS_MODULE = settings",
        ["*the Django project cannot be set up by its settings: settings.", "*KeyError: *SHOP*"],
    ),
    "no PostgreSQL": (
        {
            "settings": "SECRET_KEY = 'x'; DATABASES = {'default': {'ENGINE': 'django.db.backends."
            "sqlite3', 'NAME': 'x'}}"
        },
        "DJANGO_SETTINGS_MODULE = settings",
        ["*berth_django is set, but no entry of DATABASES is PostgreSQL.", "*default: *sqlite3*"],
    ),
    "no settings": ({}, "", ["*berth_django = True (pytest.ini) needs DJANGO_SETTINGS_MODULE*"]),
    "settings that are not there": (
        {},
        "DJANGO_SETTINGS_MODULE = shop.settings",
        [
            "*the settings of the Django project cannot be imported: shop.settings.",
            "*pythonpath =*",
        ],
    ),
}


@pytest.mark.parametrize(
    ("plugins", "case"),
    [((), each) for each in WRONG] + [(("django",), "no settings"), (("django",), "no PostgreSQL")],
)
def test_what_is_missing_ends_the_run(
    project: Project, plugins: tuple[str, ...], case: str
) -> None:
    files, line, told = WRONG[case]
    project.plugins = plugins
    project.write(test_it="def test_it(): pass", **files)
    project.ini("berth_django = true", line)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(told)
