"""Reads an SQL file: whether it needs psql, and what the server is sent, rows for COPY included."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth.errors import SchemaError
from pytest_berth.services.postgres.schema import find_statements

if TYPE_CHECKING:
    from pathlib import Path

# Most files have nothing that only psql understands; a search is faster than scanning them.
NEEDS_SCAN = re.compile(r"\\|\bstd(?:in|out)\b", re.IGNORECASE)
CONNECTS = re.compile(r"\\c(?:onnect)?\b")
MAY_CONTROL = re.compile(r"\b(?:begin|start|commit|end|rollback|abort|prepare)\b", re.IGNORECASE)


class Passage(NamedTuple):
    """A piece of a script that is sent at once.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last one.
        rows: Offsets of the rows that go with it, where it is a COPY.
    """

    start: int
    end: int
    rows: tuple[int, int] | None = None


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
        """Whether it has backslash lines other than a dump's guards, or a COPY of another kind."""
        if not NEEDS_SCAN.search(self.text):
            return False
        return any(
            (statement.copies and statement.rows is None)
            or (statement.meta and not self._is_guard(statement))
            for statement in find_statements.statements(self.text)
        )

    @property
    def passages(self) -> list[Passage]:
        """What is sent one after the other: the whole text, where it has no rows for COPY."""
        if not NEEDS_SCAN.search(self.text):
            return [Passage(0, len(self.text))]
        found, position = [], 0
        for each in find_statements.statements(self.text):
            if each.rows:
                found += [Passage(position, each.start), Passage(each.start, each.end, each.rows)]
                position = each.behind
        return [*found, Passage(position, len(self.text))]

    @property
    def connection_line(self) -> int:
        """The number of the first line that connects to another database; 0 where none does."""
        for each in find_statements.statements(self.text) if "\\c" in self.text else ():
            if each.meta and CONNECTS.match(self.text, each.start):
                return find_statements.line_at(self.text, each.start)
        return 0

    @property
    def controls_transactions(self) -> bool:
        """Whether it begins or ends transactions."""
        if not MAY_CONTROL.search(self.text):
            return False
        return any(statement.controls for statement in find_statements.statements(self.text))

    def to_send(self, start: int = 0, end: int | None = None) -> bytes:
        """Return what the server is sent: the text without a dump's guards.

        Args:
            start: Offset of its first character.
            end: Offset after its last one.

        Raises:
            SchemaError: It is not UTF-8 text.
        """
        return self._encoded(start, self._without_guards(self.text[start:end]))

    def rows(self, start: int, end: int) -> bytes:
        """Return rows as they are.

        Raises:
            SchemaError: They are not UTF-8 text.
        """
        return self._encoded(start, self.text[start:end])

    def _encoded(self, start: int, text: str) -> bytes:
        try:
            encoded = text.encode()
        except UnicodeEncodeError as error:
            raise self._not_text(start + error.start) from error
        if b"\0" in encoded:
            raise self._not_text(start + text.index("\0"))
        return encoded

    def _without_guards(self, text: str) -> str:
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
