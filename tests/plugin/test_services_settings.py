"""``berth_services`` as settings: they are told in the header, and wrong ones before any test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

BOX = "box = an/image:1.0 http:80 env.API_TOKEN=hunter22"


def test_what_is_declared_has_settings_fixtures_and_a_marker(project: Project) -> None:
    project.ini("berth_services =", f"    {BOX}", "berth_box_scope = worker")
    project.write(test_it="def test_it(): pass")
    result = project.run("--markers", "--strict-markers")
    result.stdout.fnmatch_lines(["@pytest.mark.berth_box(scope=None): *"])
    result = project.run("--fixtures", "-v")
    result.stdout.fnmatch_lines(["box_url *", "*URL of the first port of box, as berth_services*"])
    result = project.run("-Werror")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["berth: *berth_services = box = an/image:1.0 http:80 env.API_TOKEN=****"]
    )
    result.stdout.no_fnmatch_line("*hunter22*")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["box = an/image:1.0"],
            "has a line that cannot be used: it names no port.",
        ),
        ([BOX, BOX], "*names a service 'box', which is there already."),
        (
            ["pg = an/image:1.0 80"],
            "*names a service 'pg', which is there already.",
        ),
    ],
)
def test_what_is_wrong_ends_the_run(project: Project, lines: list[str], told: str) -> None:
    project.ini("berth_services =", *(f"    {line}" for line in lines))
    project.write(test_it="def test_it(): pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*berth_services*{told}"])
    result.stderr.no_fnmatch_line("*Traceback*")


def test_a_service_without_an_engine_is_told(project: Project) -> None:
    project.ini(f"berth_services = {BOX}")
    project.write(test_it="def test_it(box_server): pass")
    result = project.run(DOCKER_HOST="tcp://127.0.0.1:1")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*no source can serve box.",
            "*external: no server is given by URL. (berth_box_url is not set)",
            "*container: no container engine answers. *",
            "*local: box cannot run as a local process. *an/image:1.0*",
        ]
    )
