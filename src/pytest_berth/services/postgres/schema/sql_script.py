"""Reads an SQL file: whether it needs psql, and what the server is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.errors import SchemaError
from pytest_berth.services.postgres.schema import find_statements

if TYPE_CHECKING:
    from pathlib import Path

# Most files have nothing that only psql understands; a search is faster than scanning them.
NEEDS_SCAN = re.compile(r"\\|\bstd(?:in|out)\b", re.IGNORECASE)
MAY_CONTROL = re.compile(r"\b(?:begin|start|commit|end|rollback|abort|prepare)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Script:
    """The text of an SQL file, and what messages call it."""

    name: str
    path: Path
    text: str

    @classmethod
    def read(cls, path: Path, root: Path) -> Script:
        """Read a file, a byte order mark left out."""
        name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        return cls(name, path, content.decode("utf-8", "surrogateescape"))

    @property
    def needs_psql(self) -> bool:
        """Whether it has rows for COPY, or backslash lines other than a dump's guards."""
        if not NEEDS_SCAN.search(self.text):
            return False
        return any(
            statement.copies or (statement.meta and not self._is_guard(statement))
            for statement in find_statements.statements(self.text)
        )

    @property
    def controls_transactions(self) -> bool:
        """Whether it begins or ends transactions."""
        if not MAY_CONTROL.search(self.text):
            return False
        return any(statement.controls for statement in find_statements.statements(self.text))

    def to_send(self) -> bytes:
        """Return what the server is sent: the text without a dump's guards.

        Raises:
            SchemaError: It is not UTF-8 text.
        """
        try:
            encoded = self._without_guards().encode()
        except UnicodeEncodeError as error:
            raise self._not_text(error.start) from error
        if b"\0" in encoded:
            raise self._not_text(self.text.index("\0"))
        return encoded

    def _without_guards(self) -> str:
        text = self.text
        if "\\" in text:
            for each in [found for found in find_statements.statements(text) if found.meta]:
                # Blanks keep the positions that the server reports.
                text = text[: each.start] + " " * (each.end - each.start) + text[each.end :]
        return text

    def _is_guard(self, statement: find_statements.Statement) -> bool:
        # pg_dump fences dumps against injected backslash lines; a server needs no such fence.
        line = self.text[statement.start : statement.end]
        return line.startswith((r"\restrict ", r"\unrestrict "))

    def _not_text(self, offset: int) -> SchemaError:
        line = find_statements.line_at(self.text, offset)
        return SchemaError(
            f"{self.name}:{line} is not UTF-8 text.",
            why="SQL files are sent as UTF-8",
            remedy=f"convert it, for instance: iconv -f LATIN1 -t UTF-8 {self.name}",
        )
