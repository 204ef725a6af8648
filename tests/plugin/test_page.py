"""One page of a run: what the files hold, also of runs that end early, and where they cannot be."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from marks import nightly

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Project

MARKUP = "</script><img src=x onerror=alert(1)>"
TESTS = f"""
    import pytest
    from sqlalchemy import text
    from models import User

    def test_unit(): pass

    @pytest.mark.skip
    def test_skipped(): pass

    @pytest.mark.xfail
    def test_expected(): assert False

    def test_rolled_back(pg_session):
        pg_session.add(User(email="ada@example.com"))
        pg_session.commit()

    def test_truncated(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(text("INSERT INTO users (email) VALUES ('ada@example.com')"))

    def test_markup(pg_url):
        print(pg_url)
        assert False, {MARKUP!r}

    def test_statements(pg_engine):
        with pg_engine.connect() as connection:
            found = text("SELECT email FROM users WHERE email = :email")
            connection.execute(found, {{"email": "ada"}})
            hidden = text("SELECT 'hunt' || :" + "password")
            connection.execute(hidden, {{"password": "correct" + "horse"}})
            connection.execute(text("DELETE FROM nowhere"))

    @pytest.fixture
    def broken():
        yield
        raise RuntimeError("at the end")

    def test_broken(broken): pass
"""


class Page(HTMLParser):
    """What is in a page: the elements with their attributes, and what scripts and styles hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note what a script or a style holds."""
        if self.cdata_elem:
            self.raw.append(data)

    @property
    def document(self) -> Any:
        """The data."""
        return json.loads(self.raw[1])


def outcomes(told: Any) -> dict[str, str]:
    """Return the outcomes of all tests by their names."""
    return {test["nodeid"].rpartition("::")[2]: test["outcome"] for test in told["tests"]}


@pytest.mark.parametrize("workers", [*nightly("0"), "2"])
def test_page_and_json_tell_the_run(served: Project, outer_url: str, workers: str) -> None:
    served.plugins = ("xdist", "xdist.looponfail")
    # Another run has never had this template, so that the server has none to share.
    (served.root / "seeds.sql").write_text(f"-- {uuid4()}\n")
    served.models("berth_pg_seed = seeds.sql")
    served.write(test_it=TESTS)
    result = served.run("-n", workers, "--berth-html=a/b/run.html", "--berth-json=run.json")
    result.assert_outcomes(passed=4, failed=2, errors=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["*- berth: file:///*/a/b/run.html -*"])
    text = (served.root / "a/b/run.html").read_text("utf-8")
    page = Page(text)
    told = json.loads((served.root / "run.json").read_text("utf-8"))

    assert page.document == told
    assert (told["schema"], told["version"]) == ("pytest-berth run", 1)
    assert told["run"]["workers"] == (["main"] if workers == "0" else ["gw0", "gw1"])
    assert told["run"]["exit_status"] == 1
    assert outcomes(told) == {
        "test_unit": "passed",
        "test_skipped": "skipped",
        "test_expected": "xfailed",
        "test_rolled_back": "passed",
        "test_truncated": "passed",
        "test_markup": "failed",
        "test_statements": "failed",
        "test_broken": "error",
    }
    assert [server["source"] for server in told["servers"]] == ["external"]
    of_test = {test["nodeid"].rpartition("::")[2]: test for test in told["tests"]}
    assert of_test["test_rolled_back"]["isolation"]["postgres"].startswith("rollback: ")
    assert of_test["test_truncated"]["isolation"]["postgres"].startswith("truncation: ")
    assert of_test["test_unit"]["isolation"] == {}
    assert 0 < of_test["test_truncated"]["isolation_time"] < of_test["test_truncated"]["duration"]
    assert told["tables"] == [{"service": "postgres", "name": "public.users", "tests": 1}]
    assert {"template", "step", "clone"} <= {event["what"] for event in told["timeline"]}
    assert list(of_test["test_unit"]["phases"]) == ["setup", "call", "teardown"]
    failures = {each["nodeid"].rpartition("::")[2]: each for each in told["failures"]}
    assert failures["test_broken"]["phase"] == "teardown"
    assert failures["test_broken"]["at"].startswith("test_it.py:")
    assert MARKUP in failures["test_markup"]["longrepr"]
    titles = [section["title"] for section in failures["test_markup"]["sections"]]
    assert {"Captured stdout call", "postgres isolation"} <= set(titles)

    assert re.fullmatch(r"test_it\.py:\d+", failures["test_statements"]["at"])
    found, hidden, failing = failures["test_statements"]["statements"]
    assert found["text"] == "SELECT email FROM users WHERE email = %(email)s"
    assert (found["parameters"], found["phase"], found["error"]) == ("[email='ada']", "call", "")
    assert re.fullmatch(r"test_it\.py:\d+", found["at"])
    assert "Cond: " in found["plan"]
    assert (hidden["parameters"], hidden["plan"]) == ("[password=***]", "")
    assert 'relation "nowhere" does not exist' in failing["error"]
    assert "correcthorse" not in text

    _contains_no_markup_of_a_test(page)
    _needs_no_network(page, text)
    assert str(urlsplit(outer_url).password) not in text + json.dumps(told)
    assert [path.name for path in (served.root / "a/b").iterdir()] == ["run.html"]


def _contains_no_markup_of_a_test(page: Page) -> None:
    assert "img" not in [name for name, _ in page.elements]
    assert [name for name, _ in page.elements].count("script") == 2


def _needs_no_network(page: Page, text: str) -> None:
    addresses = {"src", "href", "data", "action"}
    given = {value for _, each in page.elements for key, value in each.items() if key in addresses}
    assert given == {"#main"}
    assert "url(" not in page.raw[0]
    policy = next(each["content"] for _, each in page.elements if "http-equiv" in each)
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    style, _, script = page.raw
    for kind, part in {"style": style, "script": script}.items():
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", text)


INTERRUPTED = """
    def test_first(): pass
    def test_second(): raise KeyboardInterrupt
    def test_third(): pass
"""


def test_a_run_that_ends_early_is_told_too(project: Project) -> None:
    project.ini("berth_json = told/run.json")
    project.write(test_it=INTERRUPTED)
    (project.root / "elsewhere").mkdir()
    project.run("elsewhere/..")
    told = json.loads((project.root / "told/run.json").read_text("utf-8"))
    assert told["run"]["exit_status"] == pytest.ExitCode.INTERRUPTED
    assert outcomes(told) == {"test_first": "passed", "test_second": "unfinished"}
    assert told["run"]["stopped"] == "interrupted"

    project.write(test_it="def test_first(): assert 0\ndef test_second(): pass")
    project.write(test_other="import nowhere_to_be_found")
    project.run("-x", "test_it.py")
    told = json.loads((project.root / "told/run.json").read_text("utf-8"))
    assert outcomes(told) == {"test_first": "failed"}
    assert told["run"]["stopped"] == "stopping after 1 failures"

    project.run()
    told = json.loads((project.root / "told/run.json").read_text("utf-8"))
    assert told["outcomes"] == {"error": 1}
    assert told["failures"][0]["phase"] == "collection"
    assert "nowhere_to_be_found" in told["failures"][0]["longrepr"]


def test_a_file_that_cannot_be_written_ends_the_run_before_its_tests(project: Project) -> None:
    project.write(test_it="def test_it(): raise SystemError")
    (project.root / "taken").write_text("")
    result = project.run("--berth-html=taken/run.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: *taken/run.html cannot be written.",
            "  why: * (berth_html = taken/run.html (--berth-html))",
            "  do:  name a file in a directory that this user may write to",
        ]
    )
    directory = project.run("--berth-json=.")
    directory.stderr.fnmatch_lines(["  why: it is a directory (berth_json = . (--berth-json))"])

    tests = (project.root / "test_it.py").read_text("utf-8")
    forgotten = project.run("--berth-html", "test_it.py")
    assert forgotten.ret == pytest.ExitCode.USAGE_ERROR
    forgotten.stderr.fnmatch_lines(
        ["ERROR: *test_it.py would be overwritten.", "  why: it is no report of an earlier run (*)"]
    )
    assert (project.root / "test_it.py").read_text("utf-8") == tests


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
def test_a_browser_shows_the_page(project: Project, tmp_path: Path) -> None:
    project.write(
        test_it=f"""
            import pytest

            @pytest.mark.parametrize("number", range(2000))
            def test_many(number): assert number % 100, {MARKUP!r}
        """
    )
    project.run("--berth-html=run.html", "-q", "--tb=no")
    page = (project.root / "run.html").as_uri()
    chromium = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=5000",
    ]
    given = [
        *chromium,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        f"{page}#failure-19",
    ]
    shown = subprocess.run(given, capture_output=True, text=True, timeout=120, check=True).stdout
    dom = Page(shown)

    assert "data-ready" in dom.elements[0][1]
    assert "<title>20 of 2,000 tests fail</title>" in shown
    assert "img" not in [name for name, _ in dom.elements]
    details = [each for name, each in dom.elements if name == "details"]
    assert sum("failure" in str(each["class"]) for each in details) == 20
    assert sum(each["class"] == "test" for each in details) == 100
    assert [each["id"] for each in details if "open" in each] == ["failure-19"]
