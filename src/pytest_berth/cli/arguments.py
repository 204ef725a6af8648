"""What several commands take on the command line, and the project that they are about."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pytest_berth.config.options import duration
from pytest_berth.standalone import development, project

if TYPE_CHECKING:
    from pytest_berth.standalone.project import Project


def add_name(command: argparse.ArgumentParser) -> None:
    """Add the option that says which development servers are meant."""
    about = "which servers, where the project has several (default: default)"
    command.add_argument("--name", default=development.NAME, help=about)


def seconds(text: str) -> float:
    """Take a time such as ``15m``, ``30d`` or ``2 weeks``, for an option.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    try:
        return duration(text).total_seconds()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: {error}") from None


def sound_project() -> Project:
    """Return the project of the working directory.

    Raises:
        SettingsError: A setting is wrong.
    """
    found = project.find()
    found.require_sound()
    return found
