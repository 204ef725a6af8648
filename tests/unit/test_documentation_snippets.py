"""Code that stands on a page itself, not in a file that a test runs, can be used as it is."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_berth.services import discovery
from pytest_berth.standalone import project

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
MADE = re.compile(r"^<!-- made: .*?^<!-- /made -->$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What else is shown stands in a file that a test runs: `<!-- made: file ... -->`.
ON_THE_PAGE_ITSELF = {
    "docs/explanation/isolation.md": 1,
    "docs/how-to/asyncio.md": 1,
    "docs/how-to/queries.md": 1,
    "docs/reference/command.md": 2,
    "docs/reference/elasticsearch.md": 1,
    "docs/reference/fixtures.md": 1,
    "docs/reference/kafka.md": 2,
    "docs/reference/mongodb.md": 2,
    "docs/reference/mysql.md": 1,
    "docs/reference/rabbitmq.md": 1,
    "docs/reference/redis.md": 1,
    "docs/reference/s3.md": 1,
    "docs/reference/wiremock.md": 3,
}
# Fixtures of the suite that a page imagines.
OF_THE_SUITE = {"client"}


@dataclass(frozen=True)
class Snippet:
    """A block of code on a page."""

    page: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}: {self.code.splitlines()[0][:40]}"


def snippets(*languages: str) -> Iterator[Snippet]:
    """Yield the blocks of code that stand on pages themselves."""
    for path in PAGES:
        for language, code in BLOCK.findall(MADE.sub("", path.read_text("utf-8"))):
            if language in languages:
                yield Snippet(path.relative_to(ROOT).as_posix(), language, code)


def test_no_further_page_has_python_that_no_test_runs() -> None:
    counts: dict[str, int] = {}
    for each in snippets("python"):
        counts[each.page] = counts.get(each.page, 0) + 1

    assert counts == ON_THE_PAGE_ITSELF, (
        "put it into a file below docs/examples or examples, and show it by"
        " <!-- made: file ... -->; if that cannot be, count it here"
    )


@pytest.mark.parametrize("snippet", [*snippets("python")], ids=str)
def test_python_on_a_page_names_fixtures_and_arguments_that_there_are(snippet: Snippet) -> None:
    tree = ast.parse(snippet.code)
    functions = [
        node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    own = {each.name for each in functions}
    asked = {
        argument.arg
        for each in functions
        if each.name.startswith("test_") or each.decorator_list
        for argument in each.args.args
    } - {"self"}
    services, problems = discovery.find()
    assert not problems
    known = {name for service in services for name in service.fixtures}
    assert asked - own - known - OF_THE_SUITE == set()

    signatures = {each.marker.name: each.marker.signature for each in services}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", "")
        if name in signatures:
            given = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
            signatures[name](**given)


@pytest.mark.parametrize("snippet", [*snippets("ini")], ids=str)
def test_settings_on_a_page_have_values_that_can_be_used(snippet: Snippet, tmp_path: Path) -> None:
    head = "" if snippet.code.startswith("[pytest]") else "[pytest]\n"
    (tmp_path / "pytest.ini").write_text(head + snippet.code)
    (tmp_path / "compose.yaml").write_text("services: {}\n")

    found = project.find(directory=tmp_path)

    assert [str(each) for each in found.settings.problems] == []
    named = set(re.findall(r"^(berth_\w+) *=", snippet.code, re.MULTILINE))
    assert named
