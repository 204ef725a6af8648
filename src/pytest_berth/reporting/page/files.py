"""The files of a run's page: where they are to be, whether they can be, and what is written there.

The page is one file without a network: style, script and data are put into ``page.html``. The data
is JSON in which no ``<`` stands, which the script shows as text only; the page's policy allows just
that script and that style, whose digests it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from pytest_berth.config.options import HTML, JSON
from pytest_berth.debug_log import debug
from pytest_berth.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

    from pytest_berth.config.options import Option, Settings

_PARTS = Path(__file__).parent
_SIGNED_WITHIN = 1000


class File:
    """A file that the run writes at its end.

    Attributes:
        path: Where it is to be.
        setting: What has asked for it: ``berth_html = report.html (--berth-html)``.
        sign: What stands at the beginning of all such files.
    """

    def __init__(
        self, path: Path, setting: str, render: Callable[[Mapping[str, Any]], str], sign: str
    ) -> None:
        self.path = path
        self.setting = setting
        self.sign = sign
        self._render = render

    def check(self) -> None:
        """Make the directory, and find out whether the file can be written.

        Raises:
            SettingsError: It cannot, or something else than an earlier run's file is there.
        """
        if self._is_of_others():
            raise SettingsError(
                f"{self.path} would be overwritten.",
                why=f"it is no report of an earlier run ({self.setting})",
                remedy="name another file, or remove that one; the option takes the word behind it",
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise IsADirectoryError("it is a directory")
            self._beside.touch()
            self._beside.unlink()
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be written.",
                why=f"{error.strerror or error} ({self.setting})",
                remedy="name a file in a directory that this user may write to",
            ) from error

    def write(self, document: Mapping[str, Any]) -> None:
        """Write the file; who reads it sees all of it, or what was there before.

        Raises:
            OSError: It cannot be written.
        """
        try:
            self._beside.write_text(self._render(document), encoding="utf-8")
            self._beside.replace(self.path)
        finally:
            self._beside.unlink(missing_ok=True)

    def _is_of_others(self) -> bool:
        try:
            with self.path.open("rb") as file:
                beginning = file.read(_SIGNED_WITHIN)
        except OSError as error:
            debug("%s is no file yet: %s", self.path, error)
            return False
        return bool(beginning) and self.sign.encode() not in beginning

    @property
    def _beside(self) -> Path:
        return self.path.with_name(f".{self.path.name}.{os.getpid()}")


def asked_for(config: pytest.Config, settings: Settings) -> list[File]:
    """Return the files that the settings ask for.

    A path of the command line is relative to where pytest was called, as that of ``--junit-xml``;
    any other one to the root directory.
    """
    wanted: list[tuple[Option[str], Callable[[Mapping[str, Any]], str], str]] = [
        (HTML, html, '<meta name="generator" content="pytest-berth">'),
        (JSON, as_json, '"pytest-berth run"'),
    ]
    return [
        File(_path(config, settings, option), settings.given(option), render, sign)
        for option, render, sign in wanted
        if settings[option]
    ]


def _path(config: pytest.Config, settings: Settings, option: Option[str]) -> Path:
    is_flag = settings.origin(option) == option.flag
    directory = config.invocation_params.dir if is_flag else settings.root
    return directory / Path(settings[option]).expanduser()


def as_json(document: Mapping[str, Any]) -> str:
    """Return the document as it is read by programs: a line for each test."""
    parts = [f"  {json.dumps(name)}: {_lines(value)}" for name, value in document.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    return "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]"


def html(document: Mapping[str, Any]) -> str:
    """Return the page."""
    style, script, page = (
        (_PARTS / f"page.{kind}").read_text("utf-8") for kind in ("css", "js", "html")
    )
    # No text of a test can end the element that it is in; and JSON stays the same JSON.
    data = json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")
    return Template(page).substitute(
        style=style,
        script=script,
        data=data,
        style_digest=_digest(style),
        script_digest=_digest(script),
    )


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{digest}"
