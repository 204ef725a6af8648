"""Passwords are taken out of everything that pytest prints."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pytest_berth.lifecycle.state import BERTH

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from pytest_berth.lifecycle.state import Berth
    from pytest_berth.service import Server

MASK = "***"


@dataclass(frozen=True)
class Redaction:
    """Replaces secrets in text and in pytest's reports.

    Attributes:
        replacements: Texts and what is printed instead of them.
    """

    replacements: tuple[tuple[str, str], ...] = field(repr=False)

    @classmethod
    def of(cls, servers: Iterable[Server]) -> Redaction:
        """Return the redaction of the servers' passwords.

        The password of a given URL, or of the settings, may be a common word, such as
        ``postgres``: it is replaced only where it stands as a password.
        """
        return cls(
            tuple(
                replacement
                for server in servers
                for replacement in _replacements(
                    server.credentials.password,
                    common=server.source == "external" or server.credentials.chosen,
                )
            )
        )

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        for secret, replacement in self.replacements:
            text = text.replace(secret, replacement)
        return text

    def everything(self, value: Any) -> Any:
        """Return a value without secrets; lists, tuples, dicts and report objects included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            value[:] = [self.everything(part) for part in value]
            return value
        if isinstance(value, tuple):
            return tuple(self.everything(part) for part in value)
        if isinstance(value, dict):
            return {name: self.everything(part) for name, part in value.items()}
        if type(value).__module__ == "_pytest._code.code":
            for name, part in vars(value).items():
                object.__setattr__(value, name, self.everything(part))
        return value


@cache
def _replacements(password: str, *, common: bool) -> list[tuple[str, str]]:
    """Return what one password is replaced by: asked for three times in each test."""
    found: list[tuple[str, str]] = []
    for secret in {password, quote(password, "")} - {""}:
        if common:
            found += [(f":{secret}@", f":{MASK}@"), (f"={secret}", f"={MASK}")]
        else:
            found.append((secret, MASK))
    return found


def redaction_for(berth: Berth) -> Redaction:
    """Return the redaction of the passwords that tests may know of by now.

    Exported settings tell the password of a server that has not been started yet.
    """
    manager = berth.manager
    planned = manager.leases.all("planned") if berth.exports or not manager.servers else ()
    return Redaction.of((*manager.known, *planned))


class RedactingFormatter(logging.Formatter):
    """Formats as another formatter does, without secrets."""

    def __init__(self, inner: logging.Formatter, redaction: Redaction) -> None:
        super().__init__()
        self.inner = inner
        self.redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        """Return the formatted record without secrets."""
        return self.redaction.text(self.inner.format(record))


def redact_live_logs(config: pytest.Config) -> None:
    """Make pytest's handlers for live logs and log files leave secrets out."""
    plugin = config.pluginmanager.get_plugin("logging-plugin")
    redaction = redaction_for(config.stash[BERTH])
    for name in ("log_cli_handler", "log_file_handler"):
        handler = getattr(plugin, name, None)
        if handler and handler.formatter:
            inner = getattr(handler.formatter, "inner", handler.formatter)
            handler.setFormatter(RedactingFormatter(inner, redaction))
