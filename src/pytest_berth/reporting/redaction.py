"""Passwords are taken out of everything that pytest prints or writes.

Twice: out of reports, warnings and log records, before any plugin reads them, and once more out of
what reaches the terminal and the JUnit file, whoever has written it.

A password is found in each form that it takes there: as it is, percent-encoded, escaped by
``repr``, JSON, SQL, libpq or XML, and cut off by an ellipsis.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import sys
import traceback
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import BerthError
from pytest_berth.run.plugin_state import PLUGIN_STATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState

MASK = "***"
_LOG = logging.getLogger("pytest_berth")
_LEAST_SECRET = 8
_LEAST_TOKEN = 16
_KINDS = (str.islower, str.isupper, str.isdigit)
_NAME = r"(?:\w*(?:password|passwd|passphrase|pwd|secret)\w*|[a-z_]*pass|[a-z_]*auth)"
_NAMED = rf"\b{_NAME}(?:[\"'\]]*\s*[=:,]\s*[bru]?[\"']?|\s+[\"'])|requirepass\s+|masterauth\s+"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
_PLUS = r"\+"
_LEAST_SHOWN = 4
# By these xdist and the terminal know a test, and pytest what became of it: they may hold no other
# text.
_WITHOUT_SECRETS = frozenset({"nodeid", "location", "keywords", "when", "outcome"})


@dataclasses.dataclass(frozen=True)
class Redaction:
    """Replaces secrets in text and in pytest's reports.

    Attributes:
        replacements: Patterns, and what is printed instead of what they match.
    """

    replacements: tuple[tuple[re.Pattern[str], str], ...] = dataclasses.field(repr=False)

    @classmethod
    def of(cls, servers: Iterable[Server]) -> Redaction:
        """Return the redaction of the servers' passwords.

        The password of a given URL, or of the settings, may be a common word, such as
        ``postgres``: such a one is replaced only where it stands as a password. A user without a
        password may be a token.
        """
        found = {}
        for server in servers:
            account = server.credentials
            given = server.source == "external" or account.chosen
            common = given and _is_common(account.password, _names(server))
            found[account.password, common] = _replacements(account.password, common=common)
            if given and account.user and not account.password:
                is_token = _is_token(account.user, server.host)
                found[account.user, not is_token] = _user_replacements(account.user, is_token)
        return cls(tuple(replacement for each in found.values() for replacement in each))

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        for pattern, replacement in self.replacements:
            text = pattern.sub(replacement, text)
        return text

    def everything(self, value: Any) -> Any:
        """Return a value without secrets; lists, tuples, dicts and report objects included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            value[:] = [self.everything(part) for part in value]
            return value
        if type(value) is tuple:
            return self._pair(*value) if len(value) == 2 else tuple(map(self.everything, value))
        if isinstance(value, dict):
            return dict(self._pair(name, part) for name, part in value.items())
        if _is_of_a_report(value):
            for name in _attributes(value):
                object.__setattr__(value, name, self.everything(getattr(value, name)))
        return value

    def report(self, report: Any) -> None:
        """Take secrets out of everything that a report says, of whichever kind it is.

        What a passed test's report says holds no text of anybody's: it is not looked at.
        """
        for name, value in vars(report).items():
            if value and type(value) is not float and name not in _WITHOUT_SECRETS:
                setattr(report, name, self.everything(value))

    def _pair(self, name: Any, value: Any) -> tuple[Any, Any]:
        """Return a name and its value: of what is called a password, a common word is one, too."""
        shown = f"{name}="
        if isinstance(value, str) and (redacted := self.text(shown + value)).startswith(shown):
            return name, redacted[len(shown) :]
        return self.everything(name), self.everything(value)


def _names(server: Server) -> set[str]:
    account = server.credentials
    return {account.user, account.database, account.fixed, server.host, server.service}


def _is_common(password: str, names: set[str]) -> bool:
    """Tell whether a password might stand in an output without being meant.

    It does not where it is long, not a name of the server's, and made of two kinds of characters:
    small letters, capitals, digits, others.
    """
    kinds = {next((kind for kind in _KINDS if kind(letter)), None) for letter in password}
    return len(password) < _LEAST_SECRET or password in names or len(kinds) < 2


def _is_token(user: str, host: str) -> bool:
    """Tell whether what stands in the place of a user is no name, but a secret."""
    kinds = (str.isdigit, str.isalpha)
    mixed = all(any(map(kind, user)) for kind in kinds)
    return len(user) >= _LEAST_TOKEN and mixed and user != host


@cache
def _user_replacements(user: str, is_token: bool, /) -> list[tuple[re.Pattern[str], str]]:
    """Return the replacements for a user without a password; of a name, only in URLs."""
    if is_token:
        return _replacements(user, common=False)
    whole = "".join(map(_any_form, user))
    return [(re.compile(f"(://){whole}(?=@)"), rf"\1{MASK}")]


@cache
def _replacements(password: str, *, common: bool) -> list[tuple[re.Pattern[str], str]]:
    """Return the replacements for one password; cached, as each test asks several times."""
    if not password:
        return []
    letters = [_any_form(letter) for letter in password]
    whole = "".join(letters)
    if common:
        return [
            (re.compile(f"(:){whole}(?=@)"), rf"\1{MASK}"),
            (re.compile(rf"(?i:({_NAMED})){whole}(?!\w)"), rf"\1{MASK}"),
        ]
    return [
        (re.compile(whole), MASK),
        (re.compile(_beginning(letters) + r"\.\.\."), f"{MASK}..."),
        (re.compile(r"\.\.\." + _end(letters)), f"...{MASK}"),
    ]


def _any_form(letter: str) -> str:
    """Return a pattern that matches one letter in any of its forms."""
    if letter.isascii() and letter.isalnum():
        return letter
    escaped = {ascii(letter)[1:-1], f"\\u{ord(letter):04x}", _ENTITIES.get(letter, "")}
    forms = [re.escape(form) for form in sorted(escaped - {"", letter}, key=len, reverse=True)]
    forms += [f"(?i:{quote(letter, '')})", rf"\\*{re.escape(letter)}{{1,2}}"]
    return f"(?:{'|'.join(forms + [_PLUS] * (letter == ' '))})"


def _beginning(letters: list[str]) -> str:
    """Return a pattern for the beginning of a password, of four letters at least."""
    pattern = ""
    for letter in reversed(letters[_LEAST_SHOWN:-1]):
        pattern = f"(?:{letter}{pattern})?"
    return "".join(letters[:_LEAST_SHOWN]) + pattern


def _end(letters: list[str]) -> str:
    pattern = ""
    for letter in letters[1:-_LEAST_SHOWN]:
        pattern = f"(?:{pattern}{letter})?"
    return pattern + "".join(letters[-_LEAST_SHOWN:])


def _is_of_a_report(value: object) -> bool:
    module = type(value).__module__
    return module == "_pytest._code.code" or module.startswith(
        ("_pytest.subtests", "pytest_subtests")
    )


def _attributes(value: object) -> Iterator[str]:
    """Yield the names of what an object holds, with or without ``__slots__``."""
    names = (
        [field.name for field in dataclasses.fields(value)]
        if dataclasses.is_dataclass(value)
        else []
    )
    yield from dict.fromkeys([*names, *getattr(value, "__dict__", ())])


class Secrets:
    """The passwords that tests may know of: what has been seen once stays a secret.

    Attributes:
        redaction: The redaction of those that are known by now.
    """

    def __init__(self, berth: PluginState) -> None:
        self._berth = berth
        self._servers = [*self._given()]
        self._seen: object = None
        self.redaction = Redaction.of(self._servers)

    def text(self, text: str) -> str:
        """Return the text without the secrets that are known by now."""
        return self.redaction.text(text)

    def look(self) -> Redaction:
        """Look for servers that have come since, in any process of the run.

        Exported settings tell the password of a server that has not been started yet.
        """
        if self._berth.has_manager:
            try:
                self._look(self._berth.manager.known, self._berth.manager.registry.directory)
            except Exception:  # a test may have replaced what it takes to look
                _LOG.debug("servers are not looked for", exc_info=True)
        return self.redaction

    def _look(self, known: tuple[Server, ...], directory: Path) -> None:
        try:
            changed = os.stat(directory).st_mtime_ns  # noqa: PTH116  it is asked for each report
        except OSError:
            changed = 0
        seen = len(known), changed
        if seen != self._seen:
            planned = self._berth.manager.registry.all("planned")
            self._servers = [*self._given(), *known, *planned, *self._servers]
            self.redaction = Redaction.of(self._servers)
            self._seen = seen

    def _given(self) -> Iterator[Server]:
        settings = self._berth.settings
        if not settings.problems:
            # The others' backends, and what they import, are left alone.
            for service in filter(lambda each: settings[each.url], self._berth.services):
                with ignoring(BerthError, why=f"{service.name}: told where it is needed"):
                    if given := service.backend.external(settings):
                        yield given


SECRETS = pytest.StashKey[Secrets]()


class RedactingFormatter(logging.Formatter):
    """Formats as another formatter does, without secrets."""

    def __init__(self, inner: logging.Formatter, redaction: Redaction | Secrets) -> None:
        super().__init__()
        self.inner = inner
        self.redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        """Return the formatted record without secrets."""
        return self.redaction.text(self.inner.format(record))


class _RedactingWrite:
    """Writes as a method of a terminal writer does, without secrets."""

    def __init__(self, write: Callable[..., None], secrets: Secrets) -> None:
        self._write = write
        self._secrets = secrets

    def __call__(self, msg: str, *args: Any, **options: Any) -> None:
        self._write(self._secrets.text(msg), *args, **options)


def redact_outputs(config: pytest.Config) -> None:
    """Make the terminal, the live log and the log file leave secrets out, from now on."""
    secrets = config.stash[SECRETS]
    secrets.look()
    _redact_logs(config, secrets)
    if config.pluginmanager.has_plugin("terminalreporter"):
        _redact_terminal(config, secrets)


def _redact_logs(config: pytest.Config, secrets: Secrets) -> None:
    plugin = config.pluginmanager.get_plugin("logging-plugin")
    for name in ("log_cli_handler", "log_file_handler"):
        handler = getattr(plugin, name, None)
        formatter = getattr(handler, "formatter", None)
        if handler and formatter and not isinstance(formatter, RedactingFormatter):
            handler.setFormatter(RedactingFormatter(formatter, secrets))


def _redact_terminal(config: pytest.Config, secrets: Secrets) -> None:
    writer = config.get_terminal_writer()
    for name in ("write", "write_raw"):
        write = getattr(writer, name, None)
        if write and not isinstance(write, _RedactingWrite):
            setattr(writer, name, _RedactingWrite(write, secrets))


def redact_warning(message: Any, redaction: Redaction) -> None:
    """Take secrets out of a warning that pytest has recorded, not out of the test's own object."""
    told = str(message.message)
    redacted = redaction.text(told)
    if redacted != told:
        message.message = UserWarning(redacted)


def redact_file(path: str, redaction: Redaction) -> None:
    """Take secrets out of a file that pytest has written."""
    from pathlib import Path

    file = Path(path)
    if redaction.replacements and file.is_file():
        text = file.read_text(encoding="utf-8")
        redacted = redaction.text(text)
        if redacted != text:
            file.write_text(redacted, encoding="utf-8")


def redact_traceback(secrets: Secrets) -> None:
    """Take secrets out of what Python prints of an exception that ends pytest itself."""

    def hook(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
        told = "".join(traceback.format_exception(kind, error, frames))
        sys.stderr.write(secrets.text(told))

    # What somebody else has put there knows best how to show it.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = hook


def redact_conftest_failure(failure: Exception, berth: PluginState) -> None:
    """Take secrets out of why a conftest file cannot be imported: pytest prints it past all hooks.

    Args:
        failure: pytest's error, whose attribute ``cause`` is what pytest prints.
        berth: The run.
    """
    cause = getattr(failure, "cause", None)
    if not isinstance(cause, Exception):
        return
    secrets = Secrets(berth)
    secrets.look()
    told, redacted = str(cause), secrets.text(str(cause))
    if redacted != told:
        kind = type(cause)
        names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        # Errors keep their text each in its own way: only one of another class has but this text.
        shown = type(kind.__name__, (Exception,), names)(redacted)
        failure.cause = shown.with_traceback(cause.__traceback__)  # type: ignore[attr-defined]


def start(config: pytest.Config) -> None:
    """Begin to know what is secret."""
    config.stash[SECRETS] = Secrets(config.stash[PLUGIN_STATE])
