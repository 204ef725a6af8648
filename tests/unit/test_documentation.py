"""The documentation names what there is: settings, fixtures, markers, messages, examples."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import reference_tables
import write_docs

from conftest import plugins_off
from limit_tables import page as limits
from marks import nightly
from pytest_berth import errors
from pytest_berth.config import markers
from pytest_berth.config import options as core_options
from pytest_berth.isolation import service_fixtures as made_fixtures
from pytest_berth.schema import alembic
from pytest_berth.services import discovery
from pytest_berth.services.elasticsearch import fixtures as elasticsearch_fixtures
from pytest_berth.services.elasticsearch.service import ELASTICSEARCH
from pytest_berth.services.kafka import options as kafka_options
from pytest_berth.services.mongodb import fixtures as mongo_fixtures
from pytest_berth.services.mongodb.service import MONGODB
from pytest_berth.services.mysql import fixtures as mysql_fixtures
from pytest_berth.services.mysql import options as mysql_options
from pytest_berth.services.mysql.service import MYSQL
from pytest_berth.services.opensearch import fixtures as opensearch_fixtures
from pytest_berth.services.opensearch.service import OPENSEARCH
from pytest_berth.services.postgres import fixtures, options
from pytest_berth.services.postgres.isolation.choice import COMMITTING_FIXTURES
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.services.rabbitmq import fixtures as rabbitmq_fixtures
from pytest_berth.services.rabbitmq import options as rabbitmq_options
from pytest_berth.services.rabbitmq.service import RABBITMQ
from pytest_berth.services.redis import fixtures as redis_fixtures
from pytest_berth.services.redis import options as redis_options
from pytest_berth.services.redis.service import REDIS
from pytest_berth.services.s3 import options as s3_options
from pytest_berth.services.s3.service import S3
from pytest_berth.services.wiremock import fixtures as wiremock_fixtures
from pytest_berth.services.wiremock.service import WIREMOCK

if TYPE_CHECKING:
    from types import ModuleType

    from pytest_berth.api import Service

SERVICES = [each for each in discovery.find().services if not each.distribution]
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
OPTIONS = (
    *core_options.OPTIONS,
    *options.OPTIONS,
    *redis_options.OPTIONS,
    *kafka_options.OPTIONS,
    *MONGODB.options,
    *mysql_options.OPTIONS,
    *s3_options.OPTIONS,
    *WIREMOCK.options,
    *ELASTICSEARCH.options,
    *OPENSEARCH.options,
    *rabbitmq_options.OPTIONS,
)
# Read by the cache, the run and this suite, before or without pytest's settings.
OTHER_VARIABLES = {"BERTH_CACHE"}
FROM = (
    "from_pytest_postgresql",
    "from_pytest_databases",
    "from_pytest_docker",
    "from_testcontainers",
)
MOST_WORDS = 1500
"""In prose; a page that grows beyond it is to be split. Lists of messages are not read in order."""
# Messages that consist of another's text, and the abstract ones.
PASSED_ON = {"", "…", "… …", "….", "… …."}


def page(name: str) -> str:
    """Return the text of a page of the documentation, whichever part it is in."""
    (path,) = DOCS.rglob(f"{name}.md")
    return path.read_text("utf-8")


def pages(*names: str) -> str:
    """Return the text of several pages, by their names or patterns."""
    found = sorted(path for name in names for path in DOCS.rglob(f"{name}.md"))
    return "\n".join(path.read_text("utf-8") for path in found)


def words(text: str) -> int:
    """Return how many words of prose a text has: without tables, and without what is code."""
    prose = re.sub(r"^(```+).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    return len(re.sub(r"^\|.*$", "", prose, flags=re.MULTILINE).split())


def cells(text: str) -> list[list[str]]:
    """Return the cells of all rows of tables that begin with code."""
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows]


def fixture_definitions() -> dict[str, Any]:
    """Return the public fixtures of Postgres by their names."""
    made = vars(made_fixtures.of_service(POSTGRES))
    found = {**made, **vars(fixtures)}
    return {name: each for name, each in found.items() if name.startswith("pg_")}


def fixture_scope(found: Any) -> Any:
    """Return the scope of a fixture; pytest before 8.4 has it under another name."""
    name = "_fixture_function_marker"
    return getattr(found, name if hasattr(found, name) else "_pytestfixturefunction").scope


def signature_of(found: Any) -> inspect.Signature:
    """Return the signature of a fixture's function."""
    return inspect.signature(inspect.unwrap(found))


@pytest.mark.parametrize("path", write_docs.pages(), ids=lambda path: path.name)
def test_what_is_made_on_a_page_is_current(path: Path) -> None:
    text = path.read_text("utf-8")

    assert text == write_docs.made(text), "python tools/write_docs.py"


def test_every_setting_is_in_the_generated_tables() -> None:
    groups = reference_tables.groups()
    shown = [cell for group in groups for cell in cells(reference_tables.settings(group))]

    assert {row[0] for row in shown} == {f"`{option.name}`" for option in OPTIONS}
    assert all(len(row) == len(reference_tables.SETTINGS) for row in shown)
    for group in groups:
        assert f"<!-- made: settings {group} -->\n" in page("settings")


def test_every_fixture_marker_and_command_is_in_the_generated_tables() -> None:
    for service in discovery.ours():
        made = f"<!-- made: fixtures {service.name} -->\n"
        assert made in page("fixtures") + page("all-fixtures")
    assert "<!-- made: markers -->\n" in page("markers")
    assert "\n## pytest-berth doctor\n" in page("command-line")


def test_no_page_is_too_long_to_be_read_at_once() -> None:
    read = [path for path in DOCS.rglob("*.md") if not path.name.startswith("messages-")]
    lengths = {path.name: words(path.read_text("utf-8")) for path in read}

    assert {name: count for name, count in lengths.items() if count > MOST_WORDS} == {}


def test_no_page_needs_the_builder_to_be_read() -> None:
    used = re.compile(r"^```\{(?!toctree)", re.MULTILINE)

    assert [path.name for path in PAGES if used.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_setting_that_a_page_names_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    names = {option.name for option in OPTIONS} | {each.marker.name for each in SERVICES}
    text = re.sub(r"\bberth_(memcached|mailpit)\w*", "", text)  # the examples'
    variables = {option.variable for option in OPTIONS} | OTHER_VARIABLES
    flags = {option.flag for option in OPTIONS if option.flag}
    flags |= {"--berth-stop", "--berth-find-polluter"}

    assert set(re.findall(r"(?<![\w{-])berth_(?!settings\b)\w+[a-z]\b", text)) <= names
    assert set(re.findall(r"\bBERTH_\w+", text)) <= variables
    assert set(re.findall(r"--berth-[\w-]+", text)) <= flags


def test_the_table_of_fixtures_has_types_scopes_and_which_commit() -> None:
    expected = {
        name: (
            re.sub(r"Iterator\[(.*)\]", r"\1", signature_of(found).return_annotation),
            fixture_scope(found),
            "yes" if name in COMMITTING_FIXTURES else "no",
        )
        for name, found in fixture_definitions().items()
    }
    shown = {
        row[0].strip("`"): (row[1].strip("`"), row[2], row[3])
        for row in cells(page("fixtures"))
        if row[0].startswith("`pg_")
    }

    assert shown == expected


def test_each_file_that_the_architecture_names_is_there() -> None:
    named = set(
        re.findall(r"`([\w/]+\.py)`", pages("architecture", "runs", "speed", "clean-slate"))
    )
    files = [found.as_posix() for found in (ROOT / "src").rglob("*.py")]

    assert named
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []


def test_the_readme_names_every_fixture() -> None:
    text = (ROOT / "README.md").read_text("utf-8")

    assert [name for name in fixture_definitions() if f"`{name}`" not in text] == []


def test_every_placeholder_of_exports_is_explained() -> None:
    text = page("export")

    placeholders = frozenset[str]().union(
        *(each.placeholders for each in (POSTGRES, REDIS, MYSQL, S3, WIREMOCK, RABBITMQ))
    )
    placeholders |= ELASTICSEARCH.placeholders | OPENSEARCH.placeholders | MONGODB.placeholders
    assert [name for name in placeholders if f"`{{{name}}}`" not in text] == []


def test_every_marker_and_its_arguments_are_explained() -> None:
    text = page("markers")
    assert f"\n## {markers.INTEGRATION_NAME}\n" in text
    for marker in (each.marker.signature for each in SERVICES):
        parameters = inspect.signature(marker).parameters.values()
        arguments = ", ".join(f"{each.name}={each.default!r}" for each in parameters)

        assert f"`@pytest.mark.{marker.__name__}({arguments})`" in text
        assert [each.name for each in parameters if f"\n`{each.name}`\n: " not in text] == []


def test_every_fixture_of_redis_is_explained() -> None:
    text = page("redis")
    made = vars(made_fixtures.of_service(REDIS))
    names = [name for name in (*made, *vars(redis_fixtures)) if name.startswith("redis_")]

    assert [name for name in names if f"| `{name}` | " not in text] == []


def test_every_fixture_of_mongodb_is_explained() -> None:
    text = page("mongodb")
    made = vars(made_fixtures.of_service(MONGODB))
    names = [name for name in (*made, *vars(mongo_fixtures)) if name.startswith("mongo_")]

    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_fixture_of_mysql_is_explained() -> None:
    text = page("mysql")
    made = vars(made_fixtures.of_service(MYSQL))
    names = [name for name in (*made, *vars(mysql_fixtures)) if name.startswith("mysql_")]

    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_fixture_of_s3_is_explained() -> None:
    text = page("s3")

    assert [name for name in S3.fixtures if f"| `{name}` | " not in text] == []


def test_every_fixture_of_wiremock_is_explained() -> None:
    text = page("wiremock")
    made = vars(made_fixtures.of_service(WIREMOCK))
    names = [name for name in (*made, *vars(wiremock_fixtures)) if name.startswith("wiremock_")]

    assert [name for name in names if f"| `{name}` | " not in text] == []


@pytest.mark.parametrize(
    ("service", "further"),
    [(ELASTICSEARCH, elasticsearch_fixtures), (OPENSEARCH, opensearch_fixtures)],
)
def test_every_fixture_of_elasticsearch_and_opensearch_is_explained(
    service: Service, further: ModuleType
) -> None:
    text = page("elasticsearch")
    made = {*vars(made_fixtures.of_service(service)), *vars(further)}
    names = [name for name in made if name.startswith(f"{service.prefix}_")]

    assert [name for name in names if f"| `{name}` | " not in text] == []


def test_every_fixture_of_rabbitmq_is_explained() -> None:
    text = page("rabbitmq")
    made = vars(made_fixtures.of_service(RABBITMQ))
    names = [name for name in (*made, *vars(rabbitmq_fixtures)) if name.startswith("rabbitmq_")]

    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_isolation_is_explained() -> None:
    shown = {row[0].strip("`") for row in cells(page("isolation"))}

    assert shown == set(options.ISOLATIONS)


def test_the_page_of_limits_is_what_its_tests_try() -> None:
    shown = limits.PATH.read_text("utf-8")

    assert shown == limits.text(), "write it anew: python -m tests.limits"


def test_every_message_has_its_entry() -> None:
    explained = set(re.findall(r"^`(.*)`$", pages("troubleshooting", "messages-*"), re.MULTILINE))
    missing = sorted(messages() - explained)

    assert not missing, "docs/reference/messages-*.md do not explain: " + "; ".join(missing)


def test_every_entry_is_of_a_message_that_there_is() -> None:
    explained = set(re.findall(r"^`(.*)`$", pages("troubleshooting", "messages-*"), re.MULTILINE))
    gone = sorted(explained - messages())

    assert not gone, "docs/reference/messages-*.md explain what nothing says: " + "; ".join(gone)


def messages() -> set[str]:
    """Return what all errors of the package say first, with ``…`` for what differs."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "src").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    kinds = {name for name, kind in vars(errors).items() if inspect.isclass(kind)}
    kinds |= {
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in kinds for base in node.bases)
    }
    kinds -= {errors.MissingExtraError.__name__}  # Its arguments are no message.
    found = {
        _text(node.args[0])
        for node in nodes
        if isinstance(node, ast.Call) and node.args and _called(node) in {*kinds, "__init__"}
    }
    # These are put together from parts that only the run knows.
    found |= {f"… {what}" for what in alembic.WHAT.values()}
    found |= {
        "… failed: alembic upgrade heads ….",
        "… ended with exit status ….",
        "… has a value that cannot be used.",
    }
    return found - PASSED_ON


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", None) or getattr(node.func, "attr", "")


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        return re.sub("…( …)+", "…", "".join(map(str, parts)))
    return ""


@pytest.mark.parametrize(
    ("name", "language"), [("app.py", "python"), ("pytest.ini", "ini"), ("test_users.py", "python")]
)
def test_the_readme_shows_the_files_of_the_first_example(name: str, language: str) -> None:
    text = (EXAMPLES / "first" / name).read_text("utf-8")

    assert f"```{language}\n{text}```" in (ROOT / "README.md").read_text("utf-8")


def test_the_readme_counts_the_lines_of_the_examples_of_migrating() -> None:
    examples = EXAMPLES / "migrating"
    before = [
        sum(len(path.read_text("utf-8").splitlines()) for path in place.glob("before_*"))
        for place in map(examples.joinpath, FROM)
    ]

    row = " | ".join(map(str, before))
    assert f"[the same example](docs/how-to/migrating.md) | 6 to 12 | {row} | - |" in (
        ROOT / "README.md"
    ).read_text("utf-8")


def test_the_readme_shows_the_test_of_the_order_flow_in_full() -> None:
    text = (ROOT / "examples/order_flow/tests/test_order_flow.py").read_text("utf-8")

    assert f"```python\n{text}```" in (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 40


NEEDS_PYTEST_9 = pytest.mark.skipif(pytest.version_tuple < (9,), reason="TOML of pytest 9")


@pytest.mark.parametrize(
    "name",
    [
        "first",
        "clients",
        "toml",
        "migrating",
        "from_nothing",
        # tests/plugin try what these show: test_seeds, test_export, test_databases, test_settings.
        *nightly("seeds", "export", "several_databases", "application_role", "split_variables"),
        pytest.param("toml_native", marks=[NEEDS_PYTEST_9, pytest.mark.nightly]),
        pytest.param("pytest_toml", marks=[NEEDS_PYTEST_9, pytest.mark.nightly]),
    ],
)
def test_an_example_of_the_documentation_passes(name: str, tmp_path: Path) -> None:
    project = shutil.copytree(EXAMPLES / name, tmp_path / name)
    plain = {key: text for key, text in os.environ.items() if not key.startswith("PYTEST_")}
    # No later run begins with what this one would leave.
    plain |= {"BERTH_SNAPSHOTS": "off"}
    command = [sys.executable, "-m", "pytest", *plugins_off("asyncio"), "-rs"]
    # In CI, what can be tested there has to be.
    missing = "fail" if os.environ.get("BERTH_TESTS_REQUIRE") else "skip"
    result = subprocess.run(
        command,
        cwd=project,
        env={**plain, "BERTH_MISSING": missing, "BERTH_START_TIMEOUT": "240"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    hints = [line for line in result.stdout.splitlines() if line.startswith("hint: ")]
    # A busy machine takes long for what else takes no time.
    assert not [line for line in hints if not re.search(r" took | takes ", line)]
    if " skipped" in result.stdout.splitlines()[-1]:
        pytest.skip(result.stdout)
