"""How a value out of a server is shown to people: on one line, cut, and without secrets.

A secret is known by the name that it stands under: a column, a field, a key, a header, or a name
within the value, such as that of a member in JSON.
"""

from __future__ import annotations

import re

MASK = "***"
MOST = 200
_SECRET = (
    r"(?:pass(?:word|wd|phrase|code)|(?:require|user|db)pass|pwd|secret|token|credential|cookie"
    r"|authorization|masterauth|(?:api|access|private|signing|encryption)[-_. ]?key"
    r"|(?<![a-z])(?:pass|auth|otp|cvc|cvv|ssn)(?![a-z]))"
)
_IS_SECRET = re.compile(_SECRET, re.IGNORECASE)
# A name that looks like a secret's, with or without quotes, escaped ones too, and what follows it:
# a text in quotes, one whose end was cut off, a list, an object, or a word.
_NAMED = re.compile(
    rf"(?P<name>[\w.-]*{_SECRET}[\w.-]*\\*[\"']?\s*(?:[:=]|=>)\s*)"
    r"(?P<value>(?P<escape>\\+)\"[^\"]*?(?:(?P=escape)\"|$)|[bru]?\"(?:[^\"\\]|\\.)*(?:\"|\\?$)"
    r"|[bru]?'(?:[^'\\]|\\.)*(?:'|\\?$)|\[[^\]]*(?:\]|$)|\{[^}]*(?:\}|$)"
    r"|(?:(?:bearer|basic)\s+)?[^\s,;&)\]}\"']+)",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Tell whether a name looks like that of a secret: a password, a token, a key of an API."""
    return _IS_SECRET.search(name) is not None


def masked(text: str) -> str:
    """Return a text without the values of names in it that look like secrets'."""
    return _NAMED.sub(lambda found: f"{found['name']}{MASK}", text)


def shown(value: object, *, name: str = "", most: int = MOST, size: int | None = None) -> str:
    """Return a value for people.

    Args:
        value: Bytes are read as UTF-8 where they are that, and quoted as texts are; all else is
            shown by its `repr`.
        name: What it stands under; the value of one that looks like a secret's is masked.
        most: Characters to show.
        size: How long it is in truth, where only its beginning was read.
    """
    if is_secret(name):
        return MASK
    if isinstance(value, bytes):
        value = _text(value)
    text = masked(value) if isinstance(value, str) else masked(repr(value))
    length = max(len(text), size or 0)
    cut, rest = text[:most], f"... ({length} long)" if length > most else ""
    return f"{cut!r}{rest}" if isinstance(value, str) else f"{cut}{rest}"


def word(value: object, *, name: str = "", most: int = MOST, size: int | None = None) -> str:
    """Return a value as a word of a command: without quotes, where it can be read without."""
    text = shown(value, name=name, most=most, size=size)
    plain = text[1:-1]
    is_plain = text == f"'{plain}'" and plain and not any(letter in plain for letter in " \\'\"")
    return plain if is_plain else text


def _text(value: bytes) -> str | bytes:
    """Return bytes as text; as they are where they are none, but for a last letter cut off."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        is_cut = error.end == len(value) and error.reason == "unexpected end of data"
        return value[: error.start].decode() if is_cut else value
