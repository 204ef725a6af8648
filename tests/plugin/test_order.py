"""``berth_order``: whole modules without integration tests come first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

WRITTEN = ["test_a::pg", "test_a::unit", "test_b::unit", "test_c::pg", "test_d::unit"]
UNIT_FIRST = ["test_b::unit", "test_d::unit", "test_a::pg", "test_a::unit", "test_c::pg"]


@pytest.fixture
def ordered(served: Project) -> Project:
    """Modules with a unit test, an integration test or both, whose order shows in a report."""
    served.models()
    served.write(
        test_a="def test_pg(pg_session): pass\ndef test_unit(): pass",
        test_b="def test_unit(): pass",
        test_c="def test_pg(pg_session): pass",
        test_d="def test_unit(): pass",
    )
    return served


def order(result: pytest.RunResult) -> list[str]:
    """Return the tests in the order in which they ran."""
    lines = [line for line in result.outlines if "::" in line and "PASSED" in line]
    return [line.split()[0].replace(".py::test_", "::") for line in lines]


def test_modules_without_integration_tests_come_first(ordered: Project) -> None:
    assert order(ordered.run("-v")) == UNIT_FIRST


def test_modules_whose_servers_start_soonest_come_first(project: Project) -> None:
    project.write(
        test_a="def test_kafka(kafka_probe): pass\ndef test_redis(redis_client): pass",
        test_b="def test_pg(pg_session): pass\ndef test_unit(): pass",
        test_c="def test_redis(redis_client): pass",
        test_d="def test_unit(): pass",
    )
    listed = project.run("--collect-only", "-q").outlines
    modules = [line[:6] for line in listed if "::" in line]
    assert modules == ["test_d", "test_c", "test_b", "test_b", "test_a", "test_a"]


def test_none_leaves_the_order_as_it_is(ordered: Project) -> None:
    assert order(ordered.run("-v", "-o", "berth_order=none")) == WRITTEN


def test_failed_first_goes_before_it(ordered: Project) -> None:
    ordered.write(test_c="def test_pg(pg_session): assert False")
    ordered.run()
    ordered.write(test_c="def test_pg(pg_session): pass")
    assert order(ordered.run("-v", "--failed-first"))[0] == "test_c::pg"


def test_new_first_goes_before_it(ordered: Project) -> None:
    ordered.run()
    ordered.write(test_e="def test_pg(pg_session): pass")
    assert order(ordered.run("-v", "--new-first"))[0] == "test_e::pg"


def test_it_holds_for_what_randomly_has_shuffled(ordered: Project) -> None:
    ordered.plugins = ("randomly",)
    for seed in ("1", "2", "3"):
        result = ordered.run("-v", f"--randomly-seed={seed}")
        modules = [name[:6] for name in order(result)]
        assert set(modules[:2]) == {"test_b", "test_d"}
        assert modules[2:] in (["test_a", "test_a", "test_c"], ["test_c", "test_a", "test_a"])


def test_the_choice_by_order_is_of_files_not_of_classes(ordered: Project) -> None:
    ordered.write(
        test_a="""
            class TestUnit:
                def test_unit(self): pass

            class TestPg:
                def test_pg(self, pg_session): pass
        """
    )
    assert [name[:6] for name in order(ordered.run("-v"))] == [
        "test_b",
        "test_d",
        "test_a",
        "test_a",
        "test_c",
    ]


@pytest.mark.parametrize(("asked", "kind"), [("shop_url, pg_url", ""), ("request", "late_")])
def test_what_depends_on_others_is_cleaned_up_before_them(
    project: Project, asked: str, kind: str
) -> None:
    project.ini("berth_services =", "    shop = example/shop:1 http:80 depends_on=pg")
    project.write(
        conftest="""
            def pytest_collection_finish(session):
                (item,) = session.items
                print("set up:", *(each for each in item.fixturenames if "isolation" in each))
        """,
        test_it=f"def test_it({asked}): pass",
    )
    (line,) = (each for each in project.run("--collect-only").outlines if "set up:" in each)
    names = line.split()
    # What is set up last is cleaned up first.
    assert names.index(f"_pg_{kind}isolation") < names.index(f"_shop_{kind}isolation")


def test_fixtures_of_a_function_are_read_once_for_all_its_parameters(project: Project) -> None:
    project.write(
        conftest="""
            from pytest_berth.collection import requirements

            original, read = requirements._definitions, []

            def counted(item):
                read.append(item)
                return original(item)

            requirements._definitions = counted

            def pytest_collection_finish(session):
                print("read for", len(read), "of", len(session.items))
        """,
        test_it="""
            import pytest

            @pytest.mark.parametrize("number", range(50))
            def test_pg(pg_url, number): pass
        """,
    )
    project.run("--collect-only").stdout.fnmatch_lines("read for 1 of 50")
