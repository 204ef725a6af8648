"""The ini options that every service has, under the same names for the same things."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.collection import server_scopes
from pytest_berth.config.options import Option, choice, lines, text, words

if TYPE_CHECKING:
    from collections.abc import Callable


def image(prefix: str, examples: str) -> Option[str]:
    """Return the option that names the container's image."""
    return Option(f"berth_{prefix}_image", text, "", f"image of the container, such as {examples}")


def source(prefix: str, label: str) -> Option[str]:
    """Return the option that says where this service comes from."""
    return Option(
        f"berth_{prefix}_source",
        choice("", "auto", "container", "local", "external"),
        "",
        f"where {label} comes from, when it differs from berth_source",
    )


def server_settings(
    prefix: str, noun: str, example: str, is_settled: Callable[[str], object]
) -> Option[tuple[str, ...]]:
    """Return the option for the server's own settings.

    Args:
        prefix: What the service's options begin with.
        noun: ``server`` or ``broker``.
        example: A line that can be used.
        is_settled: Tells whether a name is settled by the source that runs the server.
    """

    def parse(value: list[str]) -> tuple[str, ...]:
        pairs = lines(value)
        for pair in pairs:
            name, equals, _ = pair.partition("=")
            if not equals or not name.strip():
                raise ValueError(f"use lines such as {example}, not {pair!r}")
            if is_settled(name.strip()):
                raise ValueError(f"leave {name.strip()} out: berth settles it itself")
        return pairs

    return Option(
        f"berth_{prefix}_settings",
        parse,
        (),
        f"settings of the {noun} beside those fit for tests: lines such as {example}",
        type="linelist",
    )


def scope(prefix: str, noun: str) -> Option[str]:
    """Return the option that says who shares a server."""
    return Option(
        f"berth_{prefix}_scope",
        server_scopes.parse,
        server_scopes.RUN,
        f"who shares a {noun}: the run (default), a worker, or nobody but the test",
    )


def allow_reset(prefix: str, what: str) -> Option[tuple[str, ...]]:
    """Return the option that names what may be emptied on a server which is not ours."""
    return Option(
        f"berth_{prefix}_allow_reset",
        words,
        (),
        f"names (globs) of {what} may be deleted",
        type="linelist",
    )
