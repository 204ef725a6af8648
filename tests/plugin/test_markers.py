"""Markers: what is wrong about one is told before the first test, once."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import pytest

from pytest_berth.services import discovery

if TYPE_CHECKING:
    from conftest import Project

MISTAKES = {
    "isolaton='rollback'": (
        "@pytest.mark.berth_pg has no argument 'isolaton'.",
        "it is given at test_marked.py::test_pg_0",
        "did you mean 'isolation'?",
    ),
    "'rollback'": (
        "@pytest.mark.berth_pg takes its arguments by name only.",
        "'rollback' is given at test_marked.py::test_pg_1",
        "use isolation=..., seed=...",
    ),
    "isolation='rolback'": (
        "unknown isolation 'rolback'.",
        "@pytest.mark.berth_pg(isolation=...) at test_marked.py::test_pg_2",
        "did you mean 'rollback'?",
    ),
    "isolation=['rollback']": (
        "unknown isolation ['rollback'].",
        "@pytest.mark.berth_pg(isolation=...) at test_marked.py::test_pg_3",
        "did you mean 'rollback'?",
    ),
    "seed='nowhere.sql'": (
        "nowhere.sql",
        "@pytest.mark.berth_pg(seed=...) at test_marked.py::test_pg_4",
        "",
    ),
    "seed=['models:nobody']": (
        "'models' has no attribute 'nobody'.",
        "@pytest.mark.berth_pg(seed=...) at test_marked.py::test_pg_5",
        "",
    ),
    "seed=[7]": ("7", "@pytest.mark.berth_pg(seed=...) at test_marked.py::test_pg_6", ""),
}


@pytest.fixture
def marked(project: Project) -> Project:
    """A project whose runs fail if they come as far as a server."""
    project.models("berth_pg_url = postgresql://nobody@127.0.0.1:1/nothing")
    return project


def write_mistakes(project: Project) -> None:
    """Write a unit test, and a test with a marker for each mistake."""
    marked = [
        f"@pytest.mark.berth_pg({arguments})\ndef test_pg_{number}(pg_session): pass\n"
        for number, arguments in enumerate(MISTAKES)
    ]
    unit = 'import pytest\n\ndef test_unit(): print("a test has run")\n'
    project.write(test_marked="\n".join([unit, *marked]))


def refusal(result: pytest.RunResult) -> str:
    """Return the text of a usage error in place of tests."""
    text = result.stderr.str() + result.stdout.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    for unwanted in ("Traceback", "INTERNALERROR", "a test has run", " passed"):
        assert unwanted not in text
    return text


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_mistake_is_a_usage_error_before_the_first_test_told_once(
    marked: Project, workers: str
) -> None:
    marked.plugins = ("xdist",)
    write_mistakes(marked)
    text = refusal(marked.run("-n", workers, "-s"))
    for number, parts in enumerate(MISTAKES.values()):
        for part in parts:
            assert part in text
        assert text.count(f"test_marked.py::test_pg_{number}") == 1


def test_all_mistakes_are_told_together_and_each_kind_once(marked: Project) -> None:
    marked.write(
        test_marked="""
            import pytest

            @pytest.mark.berth_postgres(isolation="rollback")
            def test_misspelt(): pass

            @pytest.mark.berth_pg("rollback", isolaton="rollback")
            def test_two(pg_session): pass

            @pytest.mark.berth_pg(isolation="rolback")
            class TestClass:
                def test_one(self, pg_session): pass
                def test_another(self, pg_session): pass

            @pytest.mark.berth_redis(scop="test")
            def test_redis(redis_url): pass

            @pytest.mark.berth_kafka(scope="tset")
            def test_kafka(kafka_bootstrap): pass
        """
    )
    text = refusal(marked.run())
    for part in (
        "there is no marker 'berth_postgres'.",
        "did you mean 'berth_pg'?",
        "@pytest.mark.berth_pg has no argument 'isolaton'.",
        "@pytest.mark.berth_pg takes its arguments by name only.",
        "unknown isolation 'rolback'.",
        "::test_one, and 1 more times",
        "@pytest.mark.berth_redis has no argument 'scop'.",
        "'tset'",
    ):
        assert text.count(part) == 1, text


def test_mistakes_of_tests_that_are_not_selected_are_left_alone(marked: Project) -> None:
    write_mistakes(marked)
    marked.run("-k", "test_unit").assert_outcomes(passed=1, deselected=len(MISTAKES))


def test_berths_markers_are_known_to_strict_markers(served: Project) -> None:
    served.models("addopts = --strict-markers")
    served.write(
        test_strict="""
            import pytest

            @pytest.mark.integration
            def test_unit(): pass

            @pytest.mark.berth_pg(isolation="truncation")
            def test_pg(pg_session): pass
        """
    )
    served.run().assert_outcomes(passed=2)


def test_berths_markers_are_listed(project: Project) -> None:
    project.run("--markers").stdout.fnmatch_lines(
        [
            "@pytest.mark.integration: *",
            "@pytest.mark.berth_pg(isolation=None, seed=(), max_queries=None): *",
        ]
    )


def test_markers_of_any_other_name_are_left_alone(served: Project) -> None:
    served.models("addopts = --strict-markers", "markers =", "  postgres: mine", "  db(name): mine")
    served.write(
        test_others="""
            import pytest

            @pytest.mark.postgres
            def test_unit(request):
                assert request.node.get_closest_marker("integration") is None

            @pytest.mark.db("other", isolation="wrong")
            def test_pg(pg_session): pass
        """
    )
    served.run().assert_outcomes(passed=2)
    served.run("-m", "postgres").assert_outcomes(passed=1, deselected=1)


def test_the_marker_of_a_test_goes_before_that_of_its_class_and_module(served: Project) -> None:
    served.models()
    served.write(
        test_nearest="""
            import pytest

            pytestmark = pytest.mark.berth_pg(isolation="none")

            @pytest.mark.berth_pg(isolation="rollback")
            class TestIt:
                @pytest.mark.berth_pg(isolation="truncation")
                def test_function(self, pg_session): pass

                def test_class(self, pg_session): pass

            def test_module(pg_session): pass
        """
    )
    served.run("-vv").stdout.fnmatch_lines(
        [
            "*::test_function PASSED (postgres truncation: asked for by the marker)*",
            "*::test_class PASSED (postgres rollback: asked for by the marker)*",
            "*::test_module PASSED (postgres none: asked for by the marker)*",
        ]
    )


def test_a_marker_of_a_parameter_counts(served: Project) -> None:
    served.models()
    served.write(
        test_parameters="""
            import pytest

            truncated = pytest.mark.berth_pg(isolation="truncation")

            @pytest.mark.parametrize("n", [1, pytest.param(2, marks=truncated)])
            def test_it(pg_session, n): pass
        """
    )
    served.run("-vv").stdout.fnmatch_lines(
        [
            "*test_it?1? PASSED (postgres rollback: *",
            "*test_it?2? PASSED (postgres truncation: asked for by the marker)*",
        ]
    )


def test_a_wrong_marker_on_a_test_without_postgres_is_a_usage_error(marked: Project) -> None:
    marked.write(
        test_wrong="""
            import pytest

            @pytest.mark.berth_pg(isolaton="rollback")
            def test_unit(): pass
        """
    )
    assert "has no argument 'isolaton'" in refusal(marked.run())


def test_a_wrong_name_or_value_in_any_services_marker_is_told(marked: Project) -> None:
    tests, told = [], []
    for index, service in enumerate(discovery.ours()):
        arguments = inspect.signature(service.marker.signature).parameters
        # Of their own for each service, as mistakes that are alike are told once.
        values = (-7 - index, [f"{service.name} b"])
        given = ["wrong=1", *(f"{name}={value!r}" for name in arguments for value in values)]
        for number, argument in enumerate(given):
            name = f"test_{service.name}_{number}"
            tests.append(
                f"@pytest.mark.{service.marker.name}({argument})\n"
                f"def {name}({service.address}): pass\n"
            )
            told.append(f"test_marked.py::{name}")
    marked.write(test_marked="\n".join(["import pytest\n", *tests]))
    text = refusal(marked.run())
    for place in told:
        assert len(re.findall(rf"{place}\b", text)) == 1, (place, text)
    assert re.search(r"unknown isolation -\d+\.\n  why: @pytest.mark.berth_rabbitmq\(", text)
