"""Makes steps of the lines of an ini file, or of the objects of a fixture.

Each kind of step is imported where a line is of this kind.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.errors import SettingsError, nearest
from pytest_berth.schema.steps import ALEMBIC_SUFFIXES, FORMS, ROWS_SUFFIXES

if TYPE_CHECKING:
    from pytest_berth.schema.dialect import Dialect
    from pytest_berth.schema.steps import Step

# Texts, as compiling them takes longer than most runs have use for.
PREFIX = r"(?s)(?P<word>[\w-]+)(?:\s+in\s+(?P<place>[^:]*?))?\s*:(?P<rest>\s.*|)$"
ATTRIBUTE = r"(?P<module>[\w.]+)\s*:\s*(?P<path>[\w.]+)"
DOTTED = r"(?P<module>[a-z_][\w.]*?)\.(?P<path>[A-Z]\w*(?:\.\w+)*|\w+)"
PREFIXES = ("alembic", "command", "django")
GLUED = r"(?s)(?P<prefix>(?:alembic|django|command(?:\s+in\s+[^:]*?)?)\s*:)(?P<rest>\S.*)"
QUOTED = r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\."""
# Words that only a shell understands; `<name>` and `>=3` are nobody's redirections.
OF_A_SHELL = (
    r"(?:^|\s)(?!<[^\s<>]+>(?:\s|$))"
    r"(\|\|?|&&?|;|\d?(?:>>?|<<?)(?!=)(?:&\d)?\S*)(?=\s|$)"
)
UNWANTED = "[]\"' "


def parse(
    item: object, root: Path, dialect: Dialect, *, check_drift: bool = False
) -> tuple[Step, ...]:
    """Return the steps of a line, an object or a sequence of those.

    Args:
        item: A line as text, a path, a MetaData, a callable, rows by the names of tables, or a
            sequence of items.
        root: Directory that paths are relative to: the ini file's.
        dialect: The kind of database that the steps are for.
        check_drift: Whether a difference between models and migrations is an error.

    Raises:
        SettingsError: It is none of these.
    """
    if isinstance(item, str):
        return (_line(item.strip(), root, dialect, check_drift=check_drift),)
    if isinstance(item, Path):
        return (_path(item, root, dialect),)
    if isinstance(item, Sequence):
        nested = [parse(each, root, dialect, check_drift=check_drift) for each in item]
        return tuple(step for steps in nested for step in steps)
    if isinstance(item, Mapping):
        return (_given_rows(item, dialect),)
    return (_object(item, dialect),)


def _line(line: str, root: Path, dialect: Dialect, *, check_drift: bool) -> Step:
    prefixed = re.match(PREFIX, line)
    word = prefixed["word"] if prefixed else ""
    if prefixed and word in {"alembic", "django"} and prefixed["place"] is not None:
        of_alembic = word == "alembic"
        place = "of their own ini file" if of_alembic else "of pytest's ini file"
        example = f"alembic: {prefixed['place']}/alembic.ini" if of_alembic else "django: default"
        raise SettingsError(
            f"the line {line!r} names a directory, which only a command has.",
            why=f"migrations run in the directory {place}",
            remedy=f"write for example: {example}",
        )
    if prefixed and prefixed["word"] in PREFIXES:
        return _prefixed(line, prefixed, root, dialect, check_drift=check_drift)
    if line.lower().endswith(".sql"):
        return _files(line, line, root, dialect)
    if line.lower().endswith(ROWS_SUFFIXES):
        return _row_files(line, line, root, dialect)
    named = re.fullmatch(ATTRIBUTE, line)
    if named and _is_attribute(named["module"], named["path"]):
        return _attribute(line, named, root, dialect)
    raise SettingsError(
        f"the line {line!r} is none that makes a schema.",
        why=_reason(line, prefixed),
        remedy=f"use one of:\n{FORMS}",
    )


def _prefixed(
    line: str, match: re.Match[str], root: Path, dialect: Dialect, *, check_drift: bool
) -> Step:
    word, rest = match["word"], match["rest"].strip()
    if not rest:
        example = next(form for form in FORMS.splitlines() if form.startswith(word)).split("  ")[0]
        raise SettingsError(
            f"the line {line!r} is not complete.",
            why=f"nothing comes after {word!r}",
            remedy=f"write for example: {example}",
        )
    if word == "alembic":
        return _alembic(line, rest, root, dialect, check_drift=check_drift)
    if word == "django":
        from pytest_berth.schema import django_migrations

        return django_migrations.parse(line, rest, root, dialect)
    return _command(line, rest, root / (match["place"] or ""), dialect)


def _object(value: object, dialect: Dialect) -> Step:
    from pytest_berth.schema import python_objects

    line = python_objects.name_of(value)
    step = python_objects.step_for(value, line, dialect)
    if step is None:
        raise python_objects.not_usable(line, value)
    return step


def _attribute(line: str, named: re.Match[str], root: Path, dialect: Dialect) -> Step:
    from pytest_berth.schema.python_attribute import Attribute

    return Attribute(line, named["module"], named["path"], root, dialect)


def _alembic(line: str, ini: str, root: Path, dialect: Dialect, *, check_drift: bool) -> Step:
    from pytest_berth.schema.alembic import Alembic

    return Alembic(line, ini, root, dialect, check_drift)


def _command(line: str, text: str, directory: Path, dialect: Dialect) -> Step:
    from pytest_berth.schema import run_program
    from pytest_berth.schema.command import Command

    try:
        words = tuple(run_program.split(text))
    except ValueError as error:
        raise SettingsError(
            f"the line {line!r} cannot be split into words.",
            why=str(error),
            remedy="close the quotation mark; the rules are those of a POSIX shell",
        ) from error
    found = re.search(OF_A_SHELL, re.sub(QUOTED, "''", text))
    if found:
        raise SettingsError(
            f"the line {line!r} is one for a shell.",
            why=f"a command runs without one, and would be given {found[1]!r} as a word",
            remedy='write one line for each program, or call a shell: command: sh -c "..."; where'
            f" the word is meant, put it in quotes: {shlex.quote(found[1])}",
        )
    return Command(line, words, directory, dialect)


def _path(path: Path, root: Path, dialect: Dialect) -> Step:
    shown = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    if path.suffix.lower() in ROWS_SUFFIXES:
        return _row_files(shown, str(path), root, dialect)
    if path.suffix.lower() != ".sql":
        raise SettingsError(
            f"the path {shown!r} is none that makes a schema.",
            why=f"only .sql files are sent as they are, and {', '.join(ROWS_SUFFIXES)} are of rows",
            remedy=f"use one of:\n{FORMS}",
        )
    return _files(shown, str(path), root, dialect)


def _files(line: str, pattern: str, root: Path, dialect: Dialect) -> Step:
    from pytest_berth.schema.sql_files import SqlFiles

    return SqlFiles(line, pattern, root, dialect)


def _row_files(line: str, pattern: str, root: Path, dialect: Dialect) -> Step:
    from pytest_berth.schema.rows import RowFiles

    return RowFiles(line, pattern, root, dialect)


def _given_rows(rows: Mapping[str, object], dialect: Dialect) -> Step:
    from pytest_berth.schema.rows import GivenRows

    return GivenRows(rows, dialect)


def _is_attribute(module: str, path: str) -> bool:
    # `alembic:alembic.ini` looks like one, too.
    of_alembic = module == "alembic" and Path(path).suffix in ALEMBIC_SUFFIXES
    return not of_alembic and _is_dotted(module) and _is_dotted(path)


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _reason(line: str, prefixed: re.Match[str] | None) -> str:
    if prefixed:
        return f"{prefixed['word']!r} is no kind of line; {nearest(prefixed['word'], PREFIXES)}"
    return _slip(line) or (
        "it is neither module:attribute, nor does it end in .sql, nor begin with a known word"
    )


def _slip(line: str) -> str:
    """Return what is missing in a line that is nearly right, and the line as it was meant."""
    import difflib

    if re.match(r"""["'\[]""", line):
        return f"lines of an ini file have neither quotes nor brackets: {line.strip(UNWANTED)}?"
    glued, dotted = re.fullmatch(GLUED, line), re.fullmatch(DOTTED, line)
    stem, _, ending = line.rpartition(".")
    if glued:
        return f"a blank is missing after the colon: {glued['prefix']} {glued['rest']}?"
    if f".{ending}" in ALEMBIC_SUFFIXES:
        return f"a word is missing before the file: alembic: {line}?"
    if stem and difflib.get_close_matches(ending, ["sql"]):
        return f"it does not end in .sql: {stem}.sql?"
    if dotted and "." in line:
        return f"a colon is missing: {dotted['module']}:{dotted['path']}?"
    return ""
