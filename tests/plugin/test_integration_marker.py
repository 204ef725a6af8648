"""The marker ``integration``: given to every test that reaches a server, and to no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

NOWHERE = "berth_pg_url = postgresql://nobody@127.0.0.1:1/nothing"


def collected(project: Project, *arguments: str) -> list[str]:
    """Return the names of the selected tests."""
    result = project.run("--collect-only", "-q", *arguments)
    return [line.rpartition("::")[2] for line in result.outlines if "::" in line]


@pytest.fixture
def mixed(project: Project) -> Project:
    """A project with tests that reach Postgres in every way, each named so, and with others."""
    project.ini(NOWHERE)
    project.conftest(
        """
        import pytest

        @pytest.fixture
        def repository(pg_session):
            return pg_session

        @pytest.fixture(scope="module")
        def module_engine(pg_engine):
            return pg_engine
        """
    )
    project.write(
        test_mixed="""
            import unittest
            import pytest

            def test_pg_by_session(pg_session): pass
            def test_pg_by_connection(pg_connection): pass
            def test_pg_by_engine(pg_engine): pass
            def test_pg_by_url(pg_url): pass
            def test_pg_by_dsn(pg_dsn): pass
            def test_pg_by_server(pg_server): pass
            def test_pg_by_own_fixture(repository): pass
            def test_pg_by_module_fixture(module_engine): pass

            @pytest.mark.usefixtures("pg_session")
            def test_pg_by_usefixtures(): pass

            @pytest.mark.parametrize("n", [1, 2])
            def test_pg_by_parameters(n, pg_session): pass

            @pytest.mark.integration
            def test_pg_marked_by_hand(): pass

            class TestAutouse:
                @pytest.fixture(autouse=True)
                def prepare(self, pg_session): pass

                def test_pg_by_autouse(self): pass

            class TestCase(unittest.TestCase):
                @pytest.fixture(autouse=True)
                def prepare(self, pg_session):
                    self.session = pg_session

                def test_pg_by_unittest(self): pass

            class TestPlainCase(unittest.TestCase):
                def test_unit_case(self): pass

            class TestOverridden:
                @pytest.fixture
                def pg_session(self): pass

                def test_unit_overridden(self, pg_session): pass

            class TestExtended:
                @pytest.fixture
                def pg_session(self, pg_session): pass

                def test_pg_by_extended_fixture(self, pg_session): pass

            def test_unit(): pass
            def test_unit_schema(pg_schema): pass
            def test_unit_request(request): pass
        """
    )
    return project


def test_every_test_that_reaches_a_server_is_selected(mixed: Project) -> None:
    names = collected(mixed, "-m", "integration")
    assert len(names) == 15
    assert all(name.startswith("test_pg") for name in names)


def test_no_other_test_is_selected(mixed: Project) -> None:
    names = collected(mixed, "-m", "not integration")
    assert sorted(names) == [
        "test_unit",
        "test_unit_case",
        "test_unit_overridden",
        "test_unit_request",
        "test_unit_schema",
    ]


def test_without_integration_tests_nothing_is_started(mixed: Project) -> None:
    result = mixed.run("-m", "not integration")
    result.assert_outcomes(passed=5, deselected=15)
    result.stdout.no_fnmatch_line("*= berth =*")


def test_without_integration_tests_no_source_is_needed(mixed: Project) -> None:
    result = mixed.run(
        "-m",
        "not integration",
        "--berth-source=container",
        DOCKER_HOST="tcp://127.0.0.1:1",
        PATH="",
    )
    result.assert_outcomes(passed=5, deselected=15)


def test_without_integration_tests_no_driver_is_needed(mixed: Project) -> None:
    mixed.write(
        blocked="""
            import sys

            for name in ("psycopg", "sqlalchemy", "testcontainers", "docker", "filelock", "rich"):
                sys.modules[name] = None
        """
    )
    result = mixed.run("-p", "blocked", "-m", "not integration", PYTHONPATH=str(mixed.root))
    result.assert_outcomes(passed=5, deselected=15)


def test_a_missing_driver_is_told_with_the_extra_to_install(mixed: Project) -> None:
    mixed.write(
        blocked="""
            import sys

            sys.modules["psycopg"] = None
        """
    )
    result = mixed.run("-p", "blocked", "-k", "by_server", PYTHONPATH=str(mixed.root))
    result.stdout.fnmatch_lines(
        [
            "*needs the package 'psycopg', which is not installed.*",
            '*pip install "pytest-berth?postgres?"*',
        ]
    )


def test_an_idle_run_imports_nothing_heavy(project: Project) -> None:
    project.write(
        test_unit="""
            import sys

            def test_unit(tmp_path, caplog, pytestconfig):
                heavy = "sqlalchemy psycopg testcontainers docker rich filelock psutil alembic"
                assert not set(heavy.split()) & sys.modules.keys()
                services = [name for name in sys.modules if "berth.services." in name]
                imported = {name.rpartition(".")[2] for name in services if name.count(".") == 3}
                assert imported == {"options", "service"}
        """
    )
    project.run(forked=False).assert_outcomes(passed=1)


# Plugins that have fixtures of their own for each test, which ask by `request`.
@pytest.mark.parametrize(
    "plugins", [(), ("faker", "randomly"), ("django",)], ids=["alone", "faker", "django"]
)
def test_a_run_in_which_nothing_is_set_imports_five_modules_of_ours(
    project: Project, monkeypatch: pytest.MonkeyPatch, plugins: tuple[str, ...]
) -> None:
    project.plugins = plugins
    monkeypatch.delenv("BERTH_SNAPSHOTS")
    project.write(
        # Services that happen to be installed beside ours would be imported.
        alone="""
            from pytest_berth import manifest

            manifest.others = tuple
        """,
        test_unit="""
            import sys
            import pytest

            @pytest.fixture(params=[1, 2])
            def given(request_free, tmp_path, monkeypatch): pass

            @pytest.fixture
            def request_free(capsys): pass

            def test_unit(given): pass

            def test_imports():
                ours = {m: sys.modules[m] for m in sys.modules if m.startswith("pytest_berth")}
                names = {name.removeprefix("pytest_berth") for name in ours}
                assert names == {"", ".plugin", ".manifest", ".compat", ".compat.pytest_private"}
                values = [each for module in ours.values() for each in vars(module).values()]
                assert not any(hasattr(each, "__dataclass_fields__") for each in values)
        """,
    )
    result = project.run("-p", "alone", PYTHONPATH=str(project.root), forked=False)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["berth: no settings, all defaults"])


@pytest.mark.parametrize(
    "test",
    [
        "def test_it(live_server): ...",
        "@pytest.mark.django_db\ndef test_it(): ...",
        "class TestIt(django.test.TestCase):\n    def test_it(self): ...",
    ],
    ids=["live server", "marker", "test case"],
)
def test_a_test_that_has_django_make_its_databases_is_looked_at(
    project: Project, monkeypatch: pytest.MonkeyPatch, test: str
) -> None:
    project.plugins = ("django",)
    monkeypatch.delenv("BERTH_SNAPSHOTS")
    project.write(
        settings="""
            SECRET_KEY = "secret"
            DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
        """,
        conftest="""
            import pytest

            @pytest.fixture(scope="session")
            def django_db_setup(request): ...

            def pytest_collection_finish():
                import sys
                assert "pytest_berth.activation" in sys.modules
        """,
        test_it=f"import django.test, pytest\n{test}",
    )
    environment = {"PYTHONPATH": str(project.root), "DJANGO_SETTINGS_MODULE": "settings"}
    result = project.run("--collect-only", "-q", **environment, forked=False)
    result.stdout.fnmatch_lines(["*::test_it"])
    assert result.ret == 0


def test_a_rolled_back_test_imports_no_other_service_and_few_modules_of_ours(
    served: Project,
) -> None:
    served.models()
    served.write(
        test_it="""
            import sys

            def test_pg(pg_session):
                ours = [name for name in sys.modules if name.startswith("pytest_berth")]
                services = [n.split(".")[2:] for n in ours if n.startswith("pytest_berth.services")]
                others = [n for n in services if n and n[0] not in ("postgres", "discovery")]
                known = {(), ("options",), ("service",)}
                assert {tuple(name[1:]) for name in others} <= known
                assert len(ours) - len(others) <= 166, len(ours) - len(others)
        """
    )
    served.run(forked=False).assert_outcomes(passed=1)


def test_a_fixture_that_no_test_names_is_found_where_nothing_is_set(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BERTH_SNAPSHOTS")
    project.write(
        alone="""
            import pytest
            from pytest_berth import manifest

            manifest.others = tuple

            @pytest.hookimpl(tryfirst=True)
            def pytest_runtest_call(item):
                assert item._request.getfixturevalue("pg_schema") == ()
        """,
        test_unit="def test_unit(): pass",
    )
    result = project.run("-p", "alone", PYTHONPATH=str(project.root), forked=False)
    result.assert_outcomes(passed=1)


def test_the_fixtures_are_shown_with_their_documentation_and_place(project: Project) -> None:
    result = project.run("--fixtures", "-v", forked=False)
    result.stdout.fnmatch_lines(
        [
            "pg_server [[]session scope[]] -- *pytest_berth/isolation/service_fixtures.py:*",
            "*The PostgreSQL server of this run: where it runs, its version, its log.",
            "pg_session -- *pytest_berth/services/postgres/fixtures.py:*",
            "*SQLAlchemy session on this worker's database.",
        ]
    )
