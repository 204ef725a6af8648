"""pytest's private names: what it has no public way to ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pytest


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


def active_fixtures(item: Any) -> Collection[str]:
    """Return the names of a test's fixtures, also of those that it has asked for while it runs."""
    names: Collection[str] = item._request.fixturenames
    return names


def ini_values(config: pytest.Config) -> Mapping[str, Any]:
    """Return what an ini file sets, by name; from pytest 9 on, what ``-o`` sets, too."""
    name = "_inicfg" if hasattr(config, "_inicfg") else "inicfg"  # deprecated from pytest 9 on
    found: Mapping[str, Any] = getattr(config, name)
    return found


def is_within_line(reporter: Any) -> bool:
    """Tell whether the terminal reporter has written something to the line it is at."""
    return bool(reporter._tw.width_of_current_line)


def is_capturing(capture: Any) -> bool:
    """Tell whether pytest's capture manager is at work: after Ctrl-C it is not any more."""
    return getattr(capture, "_global_capturing", None) is not None
