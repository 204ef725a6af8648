r"""Finds the statements in SQL text, as far as psql and servers disagree about them.

The rules are those of psql's own scanner (``psqlscan.l``): strings, dollar quotes and nested
comments hide everything; a semicolon inside parentheses or a ``BEGIN ATOMIC`` body ends nothing.
The lines behind a ``COPY ... FROM stdin`` are its rows, until one that is ``\.``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GRAMMAR = r"""
    (?P<blank> \s+ | --[^\n]* )
  | (?P<comment> /\* )
  | (?P<quoted> (?<=[eE])(?<![\w$][eE])'(?:[^'\\]+|\\.|'')*(?:'|\Z)
              | '[^']*(?:'|\Z) | "[^"]*(?:"|\Z) )
  | (?P<dollar> (?<![\w$])\$(?:[^\W\d]\w*)?\$ )
  | (?P<meta> \\[^\n]* )
  | (?P<end> ; )
  | %s
  | (?P<other> . )
"""
TOKEN = re.compile(GRAMMAR % r"(?P<word> [^\W\d][\w$]* ) | \d+", re.VERBOSE | re.DOTALL)
# Once the first words tell what a statement is, most of the rest is passed over at once.
PASSAGE = re.compile(GRAMMAR % r"""[^'"$\\;/-]+""", re.VERBOSE | re.DOTALL)
TELLING = 4
COMMENT = re.compile(r"/\*|\*/")
END_OF_ROWS = re.compile(r"^\\\.\r?(?:\n|\Z)", re.MULTILINE)
CONTROL = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}


@dataclass(frozen=True)
class Statement:
    """One statement, or one backslash line.

    Attributes:
        start: Offset of its first character that is no comment.
        end: Offset after its last one.
        words: Its words in capitals, without strings and quoted names.
        meta: Whether it is a backslash line.
        rows: Offsets where the rows of a COPY begin and end; None where it has none.
        behind: Offset of what comes after it and its rows.
    """

    start: int
    end: int
    words: tuple[str, ...] = ()
    meta: bool = False
    rows: tuple[int, int] | None = None
    behind: int = 0

    @property
    def copies(self) -> bool:
        """Whether it is a COPY whose rows go through the client."""
        return self.words[:1] == ("COPY",) and not {"STDIN", "STDOUT"}.isdisjoint(self.words)

    @property
    def controls(self) -> bool:
        """Whether it begins or ends a transaction; savepoints do not."""
        if self.words[:2] == ("PREPARE", "TRANSACTION"):
            return True
        return self.words[:1] != () and self.words[0] in CONTROL and "TO" not in self.words


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements and backslash lines of *text*, in order."""
    start, depth, position, words = -1, 0, 0, list[str]()
    pattern = TOKEN
    while token := pattern.match(text, position):
        begin, kind = position, token.lastgroup
        position = _end_of(text, token)
        if kind == "end" and (depth == 0 or pattern is PASSAGE):
            if start >= 0:
                found = _with_rows(text, Statement(start, position, tuple(words)))
                yield found
                position = max(position, found.behind)
            start, depth, pattern, words = -1, 0, TOKEN, []
        elif kind == "meta":
            yield Statement(begin, position, meta=True)
        elif kind not in ("blank", "comment") and pattern is TOKEN:
            start = begin if start < 0 else start
            depth = max(0, depth + _nesting(token[0].upper(), words, depth))
            if kind == "word":
                words.append(token[0].upper())
                told = len(words) == TELLING and words[0] not in ("COPY", "CREATE")
                pattern = PASSAGE if told else TOKEN
    if start >= 0:
        yield Statement(start, len(text), tuple(words))


def _with_rows(text: str, found: Statement) -> Statement:
    """Return a statement with the rows that come behind it, if it is a COPY of text."""
    if not found.copies or "STDIN" not in found.words or "BINARY" in found.words:
        return found
    begin = text.find("\n", found.end) + 1 or len(text)
    if text[found.end : begin].strip():
        return found  # psql would take the rest of the line for a statement
    mark = END_OF_ROWS.search(text, begin)
    end, behind = (mark.start(), mark.end()) if mark else (len(text), len(text))
    return replace(found, rows=(begin, end), behind=behind)


def line_at(text: str, offset: int) -> int:
    """Return the number of the line that the character at *offset* is in, from 1."""
    return text.count("\n", 0, offset) + 1


def _end_of(text: str, token: re.Match[str]) -> int:
    if token.lastgroup == "comment":
        return _end_of_comment(text, token.end())
    if token.lastgroup == "dollar":
        closing = text.find(token[0], token.end())
        return len(text) if closing < 0 else closing + len(token[0])
    return token.end()


def _end_of_comment(text: str, position: int) -> int:
    depth = 1
    while depth and (mark := COMMENT.search(text, position)):
        depth += 1 if mark[0] == "/*" else -1
        position = mark.end()
    return len(text) if depth else position


def _nesting(token: str, words: list[str], depth: int) -> int:
    if token in ("(", ")"):
        return 1 if token == "(" else -1
    if words[:1] != ["CREATE"] or {"FUNCTION", "PROCEDURE"}.isdisjoint(words[:4]):
        return 0
    opens = token == "BEGIN" or (token == "CASE" and depth > 0)
    return 1 if opens else -1 if token == "END" and depth > 0 else 0
