"""Reads the settings of a project outside a run of pytest: as pytest finds them, without its tests.

The command line, ``PYTEST_ADDOPTS``, ``BERTH_*``, and the ini or TOML file with its ``addopts``
count as in a run, and what is wrong is told in the same words. Conftest files and other plugins
are not imported: what they set is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth import manifest
from pytest_berth.compat import pytest_private
from pytest_berth.config import loading
from pytest_berth.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from pytest_berth.config.loading import Preset
    from pytest_berth.config.options import Option

    Declaring: TypeAlias = tuple[Sequence[Option[Any]], Mapping[str, Preset]]


def read(
    options: Sequence[Option[Any]],
    given: Mapping[str, object] | None = None,
    directory: Path | None = None,
    declare: Callable[[pytest.Config, pytest.Parser], Declaring] = lambda *_: ((), {}),
) -> pytest.Config:
    """Return the configuration of a project, with the settings in its stash.

    What is wrong with single settings is in their `Settings.problems`.

    Args:
        options: The options that there are.
        given: Settings that go before all others, by name; a list of lines for those that are
            lists.
        directory: The project's directory, or one below it; the working directory when left out.
        declare: Returns the options of what the settings themselves declare, known to the parser,
            and what other settings are where nothing sets them.

    Raises:
        SettingsError: The project's file, or ``PYTEST_ADDOPTS``, cannot be read.
    """
    overrides = [f"--override-ini={name}={_text(value)}" for name, value in (given or {}).items()]
    where = [str(directory)] if directory else []

    parsers: list[pytest.Parser] = []

    def add_options(parser: pytest.Parser) -> None:
        parsers.append(parser)
        manifest.add_options(parser, (option.row for option in options))

    try:
        config = pytest_private.config_of_project([*overrides, *where], add_options)
    except (pytest.UsageError, ValueError, TypeError) as error:
        raise SettingsError(
            "the project's settings cannot be read.",
            why=str(error),
            remedy="mend it there: pytest would refuse it, too",
        ) from error
    declared, presets = declare(config, parsers[0])
    config.stash[loading.SETTINGS] = loading.read(config, [*options, *declared], presets)
    return config


def _text(value: object) -> str:
    """Return a setting's value as it is written behind ``-o``."""
    if isinstance(value, (list, tuple)):
        return "\n".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
