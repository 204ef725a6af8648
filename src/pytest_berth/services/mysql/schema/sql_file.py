"""Sends an SQL file to a server, and tells which line it refused.

Dumps change the delimiter around triggers and procedures, by lines that only the client knows.
What stands between two such lines is sent at once where the delimiter is a semicolon, for the
server to split, and statement by statement where it is another one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pymysql

from pytest_berth.errors import SchemaError
from pytest_berth.services.mysql import connections, urls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_berth.schema.steps import Target
    from pytest_berth.services.mysql.connections import Connection

_DELIMITER = re.compile(r"^[ \t]*DELIMITER[ \t]+(\S+)[ \t]*$", re.IGNORECASE | re.MULTILINE)
# A comment that begins with an exclamation mark is carried out.
_TOKEN = re.compile(
    r"""
    (?P<blank> \s+ | --(?=\s|\Z)[^\n]* | \#[^\n]* | /\*(?!M?!).*?\*/ )
  | (?P<end> ; )
  | '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `[^`]*` | /\*.*?\*/ | .
    """,
    re.VERBOSE | re.DOTALL,
)
# Its semicolons end no statement.
_BODY = re.compile(r"\bBEGIN\b(?!\s*;)", re.IGNORECASE)


class Part(NamedTuple):
    """What is sent at once.

    Attributes:
        text: One statement, or several.
        start: Where it begins in the file.
        is_one: Whether it is one statement: the delimiter is no semicolon.
    """

    text: str
    start: int
    is_one: bool


def send(path: Path, target: Target) -> None:
    """Send a file on a connection of its own.

    Raises:
        SchemaError: It is not UTF-8, there is no connection, or a statement failed.
    """
    name = str(path.relative_to(target.root)) if path.is_relative_to(target.root) else str(path)
    text = _read(path, name)
    try:
        connection = connections.connect(*urls.of_database(target.dsn))
    except pymysql.Error as error:
        why = target.redact(str(error))
        raise SchemaError(f"{name} could not be sent: no connection.", why=why) from error
    with connection:
        for part in parts(text):
            _send(connection, part, name, text)


def parts(text: str) -> Iterator[Part]:
    """Yield what can be sent at once: the statements of a file, by its delimiters."""
    delimiter, start = ";", 0
    for line in [*_DELIMITER.finditer(text), None]:
        end = line.start() if line else len(text)
        for part in _between(text[start:end], start, delimiter):
            if part.text.strip():
                yield part
        if line:
            delimiter, start = line[1], line.end()


def starts(text: str) -> list[int]:
    """Return where each statement begins, in a text whose delimiter is a semicolon."""
    found: list[int] = []
    is_open = False
    for token in _TOKEN.finditer(text):
        if token["end"]:
            is_open = False
        elif not is_open and not token["blank"]:
            found.append(token.start())
            is_open = True
    return found


def _between(text: str, start: int, delimiter: str) -> Iterator[Part]:
    if delimiter == ";":
        yield Part(text, start, is_one=False)
        return
    for statement in text.split(delimiter):
        yield Part(statement, start, is_one=True)
        start += len(statement) + len(delimiter)


def _send(connection: Connection, part: Part, name: str, text: str) -> None:
    done = 0
    try:
        with connection.cursor() as cursor:
            cursor.execute(part.text)
            done = 1
            while cursor.nextset():
                done += 1
    except pymysql.Error as error:
        place, shown = _place(part, done, name, text)
        message = str(error.args[-1]) if error.args else str(error)
        raise SchemaError(f"{place} failed: {message}", why=shown) from error


def _place(part: Part, done: int, name: str, text: str) -> tuple[str, str]:
    """Return file and line of the statement after those that were done, and that line."""
    found = starts(part.text)
    if not part.is_one and _BODY.search(part.text):
        return name, ""
    index = 0 if part.is_one else done
    if index >= len(found):
        return name, ""
    line = text.count("\n", 0, part.start + found[index]) + 1
    return f"{name}:{line}", f"{line} | {text.splitlines()[line - 1].strip()}"


def _read(path: Path, name: str) -> str:
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SchemaError(
            f"{name}:{line} is not UTF-8 text.",
            why="SQL files are sent as UTF-8",
            remedy=f"convert it, for instance: iconv -f LATIN1 -t UTF-8 {name}",
        ) from error
