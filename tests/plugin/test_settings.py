"""Where settings are written, which goes before which, and what is said of wrong ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

USAGE_ERROR = pytest.ExitCode.USAGE_ERROR


@pytest.fixture
def unit(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a test that needs no server, and no settings but its own."""
    monkeypatch.delenv("BERTH_SNAPSHOTS")
    project.write(test_unit="def test_unit(): pass")
    return project


def refusal(result: pytest.RunResult) -> str:
    """Return the text of a usage error, which is told once and in place of tests."""
    text = result.stderr.str() + result.stdout.str()
    assert result.ret == USAGE_ERROR, text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    assert " passed" not in text
    return text


def test_a_setting_of_pytest_ini_is_shown_with_its_origin(unit: Project) -> None:
    unit.ini("berth_order = none")
    unit.run().stdout.fnmatch_lines(["berth: berth_order = none (pytest.ini)", "*1 passed*"])


def test_a_misspelt_flag_is_told_with_the_nearest_one(unit: Project) -> None:
    told = refusal(unit.run("--berth-pg-sorce=local"))
    assert "there is no flag --berth-pg-sorce: did you mean -o berth_pg_source=...?" in told
    told = refusal(unit.run("--berth-kep", "1h"))
    assert "there is no flag --berth-kep: did you mean --berth-keep?" in told
    unit.write(conftest="def pytest_addoption(parser): parser.addoption('--berthing')")
    unit.run("--berthing=1").assert_outcomes(passed=1)


def test_without_settings_the_header_says_so(unit: Project) -> None:
    unit.run().stdout.fnmatch_lines(["berth: no settings, all defaults", "*1 passed*"])


def test_nothing_deprecated_of_pytest_is_asked_for_the_settings(unit: Project) -> None:
    unit.run(PYTHONWARNINGS="error:config.inicfg", forked=False).assert_outcomes(passed=1)


def test_with_vvv_every_value_and_its_origin_are_shown(unit: Project) -> None:
    unit.ini("berth_pg_lock_timeout = 7", "berth_keep = 90s")
    given = ["  berth_keep = 90s (pytest.ini)", "  berth_pg_lock_timeout = 7 (pytest.ini)"]
    unit.run("-vv").stdout.fnmatch_lines(["berth:", *given], consecutive=True)
    result = unit.run("-vvv")
    result.stdout.fnmatch_lines(
        [
            "berth:",
            "  berth_source = auto (default)",
            "  berth_export = not set (default)",
            "  berth_keep = 90s (pytest.ini)",
            "  berth_pg_version = 17 (default)",
            "  berth_pg_lock_timeout = 7 (pytest.ini)",
        ]
    )


def test_settings_live_in_pyproject_toml(unit: Project) -> None:
    unit.pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        berth_source = "local"
        berth_fail_fast = true
        berth_pg_seed = ["one.sql", "two.sql"]
        """
    )
    unit.run().stdout.fnmatch_lines(
        [
            "berth: berth_source = local (pyproject.toml), berth_fail_fast = True (pyproject.toml),"
            " berth_pg_seed = one.sql | two.sql (pyproject.toml)"
        ]
    )


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest.toml came with pytest 9")
def test_settings_live_in_pytest_toml_as_texts(unit: Project) -> None:
    (unit.root / "pytest.toml").write_text(
        '[pytest]\nberth_source = "local"\nberth_fail_fast = true\n'
        'berth_pg_lock_timeout = "2.5"\nberth_pg_seed = ["one.sql"]\n'
    )
    unit.run().stdout.fnmatch_lines(
        [
            "berth: berth_source = local (pytest.toml), berth_fail_fast = True (pytest.toml),"
            " berth_pg_seed = one.sql (pytest.toml), berth_pg_lock_timeout = 2.5 (pytest.toml)"
        ]
    )


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest.toml came with pytest 9")
def test_settings_live_in_pytest_toml_as_numbers(unit: Project) -> None:
    (unit.root / "pytest.toml").write_text(
        '[pytest]\nberth_pg_version = 16\nberth_pg_seed = "one.sql"\nberth_pg_lock_timeout = 2.5\n'
    )
    unit.run().stdout.fnmatch_lines(
        [
            "berth: berth_pg_version = 16 (pytest.toml), berth_pg_seed = one.sql (pytest.toml),"
            " berth_pg_lock_timeout = 2.5 (pytest.toml)"
        ]
    )


def test_the_environment_goes_before_the_ini_file(unit: Project) -> None:
    unit.ini("berth_source = local")
    result = unit.run(BERTH_SOURCE="container")
    result.stdout.fnmatch_lines(["berth: berth_source = container (BERTH_SOURCE)"])


def test_an_override_goes_before_the_environment(unit: Project) -> None:
    result = unit.run("-o", "berth_source=local", BERTH_SOURCE="container")
    result.stdout.fnmatch_lines(["berth: berth_source = local (-o)"])


def test_a_flag_goes_before_an_override(unit: Project) -> None:
    result = unit.run("-o", "berth_source=local", "--berth-source=container")
    result.stdout.fnmatch_lines(["berth: berth_source = container (--berth-source)"])


def test_the_flags_are_shown_by_help(unit: Project) -> None:
    result = unit.run("--help")
    result.stdout.fnmatch_lines(["*--berth-source=*", "*--berth-fail-fast*", "*--berth-pg-url=*"])
    assert result.ret == 0


def test_lines_in_the_environment_are_separated_by_line_ends(unit: Project) -> None:
    result = unit.run(BERTH_PG_SEED="one.sql\n# a comment\n\ntwo.sql")
    result.stdout.fnmatch_lines(["berth: berth_pg_seed = one.sql | two.sql (BERTH_PG_SEED)"])


def test_an_override_of_lines_holds_all_of_them(unit: Project) -> None:
    result = unit.run("-o", "berth_pg_seed=one.sql\ntwo.sql")
    result.stdout.fnmatch_lines(["berth: berth_pg_seed = one.sql | two.sql (-o)"])


def test_the_password_of_a_url_is_not_shown(unit: Project) -> None:
    result = unit.run("-vv", BERTH_PG_URL="postgresql://me:hush-hush@127.0.0.1:1/x")
    result.stdout.fnmatch_lines(["*berth_pg_url = postgresql://me:***@127.0.0.1:1/x*"])
    assert "hush-hush" not in result.stdout.str()


def test_an_unknown_name_is_refused_with_the_nearest_one(unit: Project) -> None:
    unit.ini("berth_pg_shema = models:Base")
    text = refusal(unit.run())
    assert (
        "unknown setting 'berth_pg_shema'.\n"
        "  why: it is set in pytest.ini\n"
        "  do:  did you mean 'berth_pg_schema'?"
    ) in text
    assert text.count("berth_pg_shema") == 1


def test_an_unknown_name_unlike_any_other_is_refused_with_all_names(unit: Project) -> None:
    unit.ini("berth_qqqqqqq = 1")
    assert "do:  use one of: berth_artifact_mirror, berth_audit, berth_autouse," in refusal(
        unit.run()
    )


def test_an_unknown_name_is_refused_once_under_xdist(unit: Project) -> None:
    unit.plugins = ("xdist",)
    unit.ini("berth_pg_shema = models:Base")
    assert refusal(unit.run("-n", "2")).count("berth_pg_shema") == 1


def test_an_unknown_override_is_refused(unit: Project) -> None:
    text = refusal(unit.run("-o", "berth_sorce=local"))
    assert "unknown setting 'berth_sorce'.\n  why: it is set in -o" in text
    assert "did you mean 'berth_source'?" in text


def test_an_unknown_variable_that_looks_like_a_slip_is_refused(unit: Project) -> None:
    text = refusal(unit.run(BERTH_SORCE="local"))
    assert "unknown setting 'BERTH_SORCE'.\n  why: it is set in the environment" in text
    assert "did you mean 'BERTH_SOURCE'?" in text


def test_an_application_may_have_variables_of_the_same_prefix(unit: Project) -> None:
    unit.run(BERTH_NUMBER="7").assert_outcomes(passed=1)


def test_names_of_other_plugins_are_left_alone(unit: Project) -> None:
    unit.ini("markers =", "  berth_like: mine")
    unit.run().assert_outcomes(passed=1)


WRONG = {
    "at all": [
        ("berth_source = contaner", "did you mean 'container'?"),
        ("berth_missing = ignore", "use one of: fail, skip"),
        ("berth_order = unit-frist", "did you mean 'unit-first'?"),
        ("berth_start_timeout = soon", "use a number of seconds, such as 60"),
        ("berth_pg_lock_timeout = 0", "use a number of seconds above 0"),
        ("berth_pg_version = latest", "use a major version such as 17, or an exact one such as"),
        ("berth_pg_source = remote", "use one of: auto, container, external, local"),
        ("berth_pg_isolation = rolback", "did you mean 'rollback'?"),
        ("berth_pg_alembic_drift = fail", "use one of: error, ignore"),
        ("berth_pg_settings = work_mem", "use lines such as work_mem = 64MB, not 'work_mem'"),
        ("berth_pg_url = mysql://x/y", "use a URL such as postgresql://user:password@host:5432"),
    ],
    "by size": [
        ("berth_start_timeout = -1", "use a number of seconds above 0"),
        ("berth_pg_version = 9", "use 13 or newer"),
    ],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_all_wrong_values_are_refused_at_once_each_with_what_is_right(
    unit: Project, wrong: str
) -> None:
    unit.ini(*(line for line, _ in WRONG[wrong]))
    text = refusal(unit.run())
    for line, remedy in WRONG[wrong]:
        name, _, value = line.partition(" = ")
        told = text.partition(f"{name} has a value that cannot be used.")[2]
        assert told.startswith(f"\n  why: '{value}', set by pytest.ini\n  do:  {remedy}")


def test_a_wrong_truth_value_is_refused(unit: Project) -> None:
    text = refusal(unit.run(BERTH_FAIL_FAST="maybe"))
    assert "berth_fail_fast has a value that cannot be used." in text
    assert "why: 'maybe', set by BERTH_FAIL_FAST\n  do:  use true or false" in text


def test_a_wrong_truth_value_of_the_ini_file_is_refused(unit: Project) -> None:
    unit.ini("berth_fail_fast = maybe")
    text = refusal(unit.run())
    assert "why: 'maybe', set by pytest.ini\n  do:  use true or false" in text


def test_a_wrong_truth_value_of_an_override_is_refused(unit: Project) -> None:
    unit.ini("berth_fail_fast = true")
    text = refusal(unit.run("-o", "berth_fail_fast=maybe"))
    assert "why: 'maybe', set by -o\n  do:  use true or false" in text


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest.toml came with pytest 9")
def test_a_wrong_type_in_pytest_toml_is_refused(unit: Project) -> None:
    (unit.root / "pytest.toml").write_text("[pytest]\nberth_source = true\n")
    text = refusal(unit.run())
    assert "berth_source has a value that cannot be used." in text
    assert "why: 'True', set by pytest.toml" in text


def test_the_password_of_a_wrong_url_is_not_shown(unit: Project) -> None:
    text = refusal(unit.run(BERTH_PG_URL="mysql://me:hush-hush@host/x"))
    assert "hush-hush" not in text


def test_a_url_with_a_port_that_is_no_number_is_refused(unit: Project) -> None:
    text = refusal(unit.run(BERTH_PG_URL="postgresql://me@host:port/x"))
    assert "has no number for a port" in text


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("nowhere:Base", "the module 'nowhere' was not found."),
        ("models:Bse.metadata", "'models' has no attribute 'Bse'."),
        ("missing.sql", "missing.sql"),
        ("alembic: nowhere.ini", "nowhere.ini"),
        ("command: no-such-program-here", "no-such-program-here"),
    ],
)
def test_a_schema_that_is_not_there_is_refused_before_the_first_test(
    project: Project, schema: str, message: str
) -> None:
    project.models()
    project.ini(f"berth_pg_schema = {schema}")
    project.write(test_it="def test_unit(): pass\ndef test_pg(pg_session): pass")
    text = refusal(project.run("--berth-source=external"))
    assert message in text
    assert "berth_pg_schema, set by pytest.ini" in text


def test_a_schema_that_is_not_there_is_refused_once_under_xdist(project: Project) -> None:
    project.plugins = ("xdist",)
    project.ini("berth_pg_schema = nowhere:Base")
    project.write(test_it="def test_unit(): pass\ndef test_pg(pg_session): pass")
    assert refusal(project.run("-n", "2")).count("'nowhere' was not found") == 1


def test_the_schema_is_not_looked_at_when_no_test_needs_it(project: Project) -> None:
    project.ini("berth_pg_schema = nowhere:Base")
    project.write(test_it="def test_unit(): pass\ndef test_pg(pg_session): pass")
    project.run("-m", "not integration").assert_outcomes(passed=1, deselected=1)


def test_asking_for_the_settings_of_another_rootdir_finds_its_ini_file(project: Project) -> None:
    inner = project.pytester.mkdir("inner")
    (inner / "pytest.ini").write_text("[pytest]\nberth_order = none\n")
    (inner / "test_unit.py").write_text("def test_unit(): pass\n")
    project.run("inner").stdout.fnmatch_lines(["berth: berth_order = none (pytest.ini)*"])


def test_an_ini_file_given_with_c_is_named(unit: Project) -> None:
    (unit.root / "ci.ini").write_text("[pytest]\nberth_order = none\n")
    unit.run("-c", "ci.ini").stdout.fnmatch_lines(["berth: berth_order = none (ci.ini)"])
