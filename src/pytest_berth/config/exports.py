"""``berth_export``: the application's environment, set before anything of it is imported."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pytest_berth.config.options import EXPORT
from pytest_berth.debug_log import ignoring
from pytest_berth.errors import SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_berth.config.descriptor import Service
    from pytest_berth.config.options import Settings

_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}


class Export(NamedTuple):
    """A line ``NAME = text with {placeholders}``, and where it was set."""

    variable: str
    template: str
    placeholders: frozenset[str]
    origin: str

    @classmethod
    def of(cls, variable: str, template: str, origin: str) -> Export:
        """Return the export of a text.

        Raises:
            SettingsError: Its braces are not balanced.
        """
        try:
            names = [part[1] for part in string.Formatter().parse(template)]
        except ValueError as error:
            line = cls(variable, template, frozenset(), origin).line
            raise SettingsError(
                f"{EXPORT.name} has a line with unbalanced braces.",
                why=f"{line!r}, set by {origin}: {error}",
                remedy="double a brace that is not a placeholder's: {{ or }}",
            ) from None
        return cls(
            variable, template, frozenset(name for name in names if name is not None), origin
        )

    @property
    def line(self) -> str:
        """The line, as it stands in the settings; a mere text where it sets no variable."""
        return f"{self.variable} = {self.template}" if self.variable else self.template

    def render(self, values: Mapping[str, object]) -> str:
        """Return the text with its placeholders replaced.

        Raises:
            SettingsError: A placeholder has a format that its value does not take.
        """
        try:
            return self.template.format_map(values)
        except ValueError as error:
            raise SettingsError(
                f"{EXPORT.name} has a placeholder with a format that cannot be used.",
                why=f"{self.line!r}, set by {self.origin}: {error}",
                remedy="only a URL takes one, the driver's name: {pg_url:asyncpg}",
            ) from None


def parse(settings: Settings, services: Sequence[Service]) -> tuple[Export, ...]:
    """Return the exports of the settings.

    Raises:
        SettingsError: A line has no ``=``, or names an unknown placeholder, or two lines set the
            same variable.
    """
    known = frozenset(name for each in services for name in each.placeholders_for(settings))
    origin = settings.origin(EXPORT)
    found = tuple(_parse(line, origin, known) for line in settings[EXPORT])
    _refuse_repeated(found)
    return found


def render(exports: Iterable[Export], values: Mapping[str, object]) -> dict[str, str]:
    """Return the variables of all exports that need none but these values."""
    return {
        export.variable: export.render(values)
        for export in exports
        if export.placeholders <= values.keys()
    }


def changed(
    exported: Mapping[str, str], environment: Mapping[str, str], ports: Iterable[int]
) -> list[str]:
    """Return the variables that have another value by now, which leads elsewhere.

    Args:
        exported: What the exports have set.
        environment: What is set by now.
        ports: Those of the run's servers: a URL to one of them may be written otherwise.
    """
    numbers = [*ports]
    return [
        name
        for name, value in exported.items()
        if (now := environment.get(name)) != value
        and not _leads_there(now or "", value, numbers)
        and not {now, value} <= _THIS_MACHINE
    ]


def _leads_there(text: str, exported: str, ports: Iterable[int]) -> bool:
    if not any(re.search(rf"\b{port}\b", text) for port in ports):
        return False
    now, before = (_host(each) for each in (text, exported))
    return now is None or before is None or now == before or {now, before} <= _THIS_MACHINE


def _host(text: str) -> str | None:
    """Return the host of a URL; None where the text is none, or names no host."""
    with ignoring(ValueError, why="no URL has such an address"):
        return urlsplit(text.removeprefix("jdbc:")).hostname
    return None


def _refuse_repeated(exports: Iterable[Export]) -> None:
    lines: dict[str, str] = {}
    for export in exports:
        if export.variable in lines:
            raise SettingsError(
                f"{EXPORT.name} sets {export.variable} twice.",
                why=f"{lines[export.variable]!r} and {export.line!r}, set by {export.origin}",
                remedy="keep the line that the application is to have",
            )
        lines[export.variable] = export.line


def _parse(line: str, origin: str, known: frozenset[str]) -> Export:
    variable, equals, template = (part.strip() for part in line.partition("="))
    if not equals or not variable:
        raise SettingsError(
            f"{EXPORT.name} has a line that is not NAME = text.",
            why=f"{line!r}, set by {origin}",
            remedy="DATABASE_URL = {pg_url}",
        )
    made = Export.of(variable, template, origin)
    for name in sorted(made.placeholders):
        if name not in known:
            raise SettingsError(
                f"{EXPORT.name} names an unknown placeholder {{{name}}}.",
                why=f"{line!r}, set by {origin}",
                remedy=nearest(name, known),
            )
        if f"${{{name}}}" in template:
            raise SettingsError(
                f"{EXPORT.name} has a placeholder with a '$' before it.",
                why=f"{line!r}, set by {origin}; the '$' would be part of the value",
                remedy=line.replace(f"${{{name}}}", f"{{{name}}}"),
            )
    return made
