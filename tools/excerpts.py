"""Files, and parts of files, as a page shows them: a fenced block with the file's name above it."""

from __future__ import annotations

import ast
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]
LANGUAGES = {
    ".py": "python",
    ".yml": "yaml",
    ".cfg": "ini",
    ".md": "markdown",
    ".sh": "bash",
    ".sql": "plpgsql",  # that of SQL knows no dollar quotes
}


def excerpt(
    path: str,
    *,
    of: str = "",
    since: str = "",
    until: str = "",
    before: str = "",
    lines: str = "",
    title: str = "",
) -> str:
    """Return a fenced block.

    Args:
        path: The file, from the repository's root.
        of: The function or class to show, ``Class.method`` for a method; the whole file else.
        since: What the first line that is shown has in it.
        until: What the last one has in it.
        before: What the line behind the last one has in it.
        lines: The numbers of those to show: ``1,4-8``.
        title: The name of the file that stands above the block.

    Raises:
        ValueError: The file has no such part.
    """
    shown = (ROOT / path).read_text("utf-8").splitlines()
    if of:
        shown = _of_object(shown, of)
    if since:
        shown = [*dropwhile(lambda line: since not in line, shown)]
    if until or before:
        shown = [*_up_to(shown, until, before)]
    if lines:
        shown = [shown[number - 1] for number in _numbers(lines)]
    if not shown:
        raise ValueError(f"{path} has no part {of or since or until or before or lines!r}")
    suffix = Path(path).suffix
    language = LANGUAGES.get(suffix, suffix.lstrip(".") or "text")
    above = f"`{title}`\n\n" if title else ""
    return f"{above}```{language}\n" + "\n".join(shown).strip("\n") + "\n```"


def _of_object(shown: Sequence[str], name: str) -> list[str]:
    node: ast.AST = ast.parse("\n".join(shown))
    for part in name.split("."):
        node = _child(node, part)
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return [*shown[first - 1 : node.end_lineno]]


def _child(node: ast.AST, name: str) -> ast.AST:
    for each in ast.iter_child_nodes(node):
        if getattr(each, "name", None) == name:
            return each
    raise ValueError(f"there is no {name}")


def _up_to(shown: Sequence[str], until: str, before: str) -> Iterator[str]:
    for number, line in enumerate(shown):
        if number and before and before in line:
            return
        yield line
        if until and until in line:
            return


def _numbers(lines: str) -> Iterator[int]:
    for part in lines.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
