"""pytest's private names: what it has no public way to ask for."""

from __future__ import annotations

import copy
import os
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import pytest

_HARMLESS = {
    f"_pytest.{name}" for name in ("fixtures", "monkeypatch", "tmpdir", "capture", "logging")
}
_OURS = ("pytest_berth.services.", "pytest_berth.isolation.service_fixtures")
_PARAMETER = "get_direct_param_fixture_func"


def fixture_info(item: pytest.Item) -> Any:
    """Return the definitions behind an item's fixture names; None for an item of no function."""
    return getattr(item, "_fixtureinfo", None)


def set_definitions(item: Any, definitions: Mapping[str, Sequence[Any]]) -> None:
    """Let one item get these fixture definitions, by name, in place of those of its info."""
    import dataclasses

    item._fixtureinfo = dataclasses.replace(item._fixtureinfo, name2fixturedefs=definitions)
    # The request has kept the definitions that it was made with.
    item._initrequest()


def definitions(item: pytest.Item, name: str) -> Sequence[Any]:
    """Return the definitions of a fixture that an item can ask for, the innermost last."""
    return item.session._fixturemanager.getfixturedefs(name, item) or ()


def is_skipped(item: pytest.Item) -> bool:
    """Tell whether a mark skips the item: conditions may be texts, which pytest evaluates.

    Raises:
        pytest.fail.Exception: The mark is wrong.
    """
    from _pytest.skipping import evaluate_skip_marks

    return evaluate_skip_marks(item) is not None


def item_of(request: pytest.FixtureRequest) -> pytest.Item:
    """Return the test that a fixture of any scope is being set up for."""
    item: pytest.Item = request._pyfuncitem
    return item


def runs_suite(fixture: Any) -> bool:
    """Tell whether a fixture may run code of the suite, as those do that are not known better.

    Ours do not, nor some of pytest's. What hands a test the value of a parameter is one of these;
    ``setup_method`` of a class is run by others.
    """
    # A fixture may be any callable, also one that was made by `exec` or is no function.
    module = getattr(fixture.func, "__module__", None) or ""
    is_known = module in _HARMLESS or module.startswith(_OURS)
    return not is_known and getattr(fixture.func, "__name__", "") != _PARAMETER


def forget_set_up(fixture: Any) -> None:
    """Let a fixture be set up anew by the next test that needs it.

    A hook that fails leaves it half set up: pytest would fail later tests by an assertion of its
    own, or, up to version 9.0, give them the value of a fixture that has ended.
    """
    fixture.cached_result = None
    fixture._finalizers.clear()


def active_fixtures(item: Any) -> Collection[str]:
    """Return the names of a test's fixtures, also of those that it has asked for while it runs."""
    names: Collection[str] = item._request.fixturenames
    return names


def ini_values(config: pytest.Config) -> Mapping[str, Any]:
    """Return what an ini file sets, by name; from pytest 9 on, what ``-o`` sets, too."""
    name = "_inicfg" if hasattr(config, "_inicfg") else "inicfg"  # deprecated from pytest 9 on
    found: Mapping[str, Any] = getattr(config, name)
    return found


def config_of_project(
    arguments: Sequence[str], add_options: Callable[[pytest.Parser], object]
) -> pytest.Config:
    """Return a configuration with what pytest's command line, environment and ini file set.

    Nothing of the project is imported, and no plugin of others: what their options set is passed
    over.

    Args:
        arguments: The command line.
        add_options: Registers the options that are asked for.

    Raises:
        pytest.UsageError: The ini file, or the command line, cannot be read.
    """
    from _pytest.config import get_config

    config: Any = get_config()
    parser = config._parser
    add_options(parser)
    given = [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *arguments]
    if hasattr(config, "_initini"):  # up to pytest 9.0
        config._initini(given)
        if "pythonpath" not in parser._inidict:
            parser.addini("pythonpath", "Add paths to sys.path", type="paths", default=[])
    else:
        _find_ini(config, given)
    addopts = config.getini("addopts")
    config.known_args_namespace = parser.parse_known_args(
        [*addopts, *given], namespace=copy.copy(config.option)
    )
    found: pytest.Config = config
    return found


def _find_ini(config: Any, arguments: Sequence[str]) -> None:
    from _pytest.config.findpaths import determine_setup

    parser = config._parser
    given = parser.parse_known_args(arguments, namespace=copy.copy(config.option))
    found = determine_setup(
        inifile=given.inifilename,
        override_ini=given.override_ini,
        args=given.file_or_dir,
        rootdir_cmd_arg=given.rootdir or None,
        invocation_dir=config.invocation_params.dir,
    )
    config._rootpath, config._inipath, config._inicfg, config._ignored_config_files = found
    parser.addini("addopts", "Extra command line options", "args")
    parser.addini("pythonpath", "Add paths to sys.path", type="paths", default=[])


def is_within_line(reporter: Any) -> bool:
    """Tell whether the terminal reporter has written something to the line it is at."""
    return bool(reporter._tw.width_of_current_line)


def is_capturing(capture: Any) -> bool:
    """Tell whether pytest's capture manager is at work: after Ctrl-C it is not any more."""
    return getattr(capture, "_global_capturing", None) is not None
