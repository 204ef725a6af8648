"""Variables in a Compose file, as the Compose specification has them, nested ones included.

https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
# What follows a name in braces; with a colon, an empty variable counts as one that is not set.
_OPERATOR = re.compile(r":?[-?+]")


class Variables:
    """The variables that a file may use.

    Args:
        values: Their values.

    Attributes:
        unset: Names of those that were used, are not set, and have no default.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.unset: dict[str, None] = {}

    def everywhere(self, value: Any) -> Any:
        """Return a value of YAML with the variables in all of its texts, keys left out.

        Raises:
            ValueError: A text cannot be read, or a required variable is not set.
        """
        if isinstance(value, str):
            return self.replaced(value)
        if isinstance(value, dict):
            return {key: self.everywhere(each) for key, each in value.items()}
        return [self.everywhere(each) for each in value] if isinstance(value, list) else value

    def replaced(self, text: str) -> str:
        """Return a text with its variables.

        Raises:
            ValueError: It cannot be read, or a required variable is not set.
        """
        parts, at = [], 0
        while (dollar := text.find("$", at)) >= 0:
            parts.append(text[at:dollar])
            value, at = self._one(text, dollar + 1)
            parts.append(value)
        return "".join([*parts, text[at:]])

    def _one(self, text: str, at: int) -> tuple[str, int]:
        """Return the value of the variable behind a dollar sign, and where it ends."""
        if text[at : at + 1] == "$":
            return "$", at + 1
        if text[at : at + 1] == "{":
            end = _closing(text, at + 1)
            return self._braced(text[at + 1 : end], text), end + 1
        name = _NAME.match(text, at)
        if not name:
            raise ValueError(f"{text!r} has a $ without a variable: write $$ for a dollar sign")
        return self._plain(name[0]), name.end()

    def _braced(self, inner: str, text: str) -> str:
        name = _NAME.match(inner)
        rest = inner[name.end() :] if name else inner
        operator = _OPERATOR.match(rest)
        if not name or (rest and not operator):
            raise ValueError(f"{text!r} has no variable in its braces: write ${{NAME:-default}}")
        if not operator:
            return self._plain(name[0])
        value, otherwise = self._values.get(name[0]), rest[operator.end() :]
        is_there = bool(value) if operator[0][0] == ":" else value is not None
        kind = operator[0][-1]
        if kind == "+":
            return self.replaced(otherwise) if is_there else ""
        if is_there:
            return str(value)
        if kind == "?":
            raise ValueError(
                f"{name[0]} is not set: {self.replaced(otherwise) or 'it is required'}"
            )
        return self.replaced(otherwise)

    def _plain(self, name: str) -> str:
        if name not in self._values:
            self.unset[name] = None
        return self._values.get(name, "")


def _closing(text: str, at: int) -> int:
    """Return where the brace is closed that was opened before."""
    depth = 1
    while at < len(text):
        if text.startswith("${", at):
            depth, at = depth + 1, at + 1
        elif text[at] == "}":
            depth -= 1
            if not depth:
                return at
        at += 1
    raise ValueError(f"{text!r} has a brace that is not closed")
