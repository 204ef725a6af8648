"""What cannot be put back when a fixture has ended: no later test sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from pytest_berth.isolation.fixture_layers import CapturedLayers, Place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conftest import Project
    from pytest_berth.api import Namespace

CONFTEST = """
import pytest
from pytest_berth.isolation.fixture_layers import CapturedLayers, Unwinding

class Data(dict):
    refused = 0

    def capture(self):
        return dict(self)

    def restore(self, before):
        if self.refused:
            self.refused -= 1
            raise RuntimeError("the server refuses it")
        self.clear()
        self.update(before)

DATA = Data()
LAYERS = CapturedLayers(DATA)

def pytest_configure(config):
    leave = lambda fixture, name: LAYERS.leave(fixture)
    config.pluginmanager.register(Unwinding(LAYERS.entering, leave, lambda item: True))

@pytest.fixture(scope="module")
def row():
    assert DATA == {}
    DATA["row"] = "of this module"
    yield DATA
    DATA.refused = 2

@pytest.fixture
def data():
    LAYERS.begin()
    yield DATA
    LAYERS.end()
"""


class Data(dict[str, str]):
    """Data that cannot be put back as long as `is_refused`."""

    is_refused = False

    def capture(self) -> Mapping[str, str]:
        return dict(self)

    def restore(self, before: Mapping[str, str]) -> None:
        if self.is_refused:
            raise ConnectionError
        self.clear()
        self.update(before)


def test_what_cannot_be_put_back_fails_each_test_until_it_can(project: Project) -> None:
    project.conftest(CONFTEST)
    project.write(
        test_a="""
        def test_first(row, data):
            data["more"] = ""
        """,
        test_b="""
        def test_refused(row, data):
            pass

        def test_again(row, data):
            assert data == {"row": "of this module"}

        def test_last(data):
            data["left"] = ""
            data.refused = 1

        def test_follows(data):
            assert data == {"row": "of this module"}
        """,
    )
    result = project.run("-v")
    lines = result.stdout.str()
    for name, outcome in [
        ("test_a.py::test_first", "ERROR"),
        ("test_b.py::test_refused", "ERROR"),
        ("test_b.py::test_again", "PASSED"),
        ("test_b.py::test_last", "ERROR"),
        ("test_b.py::test_follows", "PASSED"),
    ]:
        assert f"{name} {outcome}" in lines
    result.stdout.fnmatch_lines(["E * RuntimeError: the server refuses it"])
    assert "AssertionError" not in lines
    assert "assert not" not in lines


def test_a_new_server_gets_nothing_of_fixtures_that_ended_on_the_lost_one(tmp_path: Path) -> None:
    data = Data(seed="1")
    layers = CapturedLayers(cast("Namespace", data))
    with layers.entering(Place(tmp_path, 3), "fixture"):
        data["row"] = "of the module"
    layers.begin()
    data["more"] = "of the test"
    data.is_refused = True
    with pytest.raises(ConnectionError):
        layers.end()
    layers.note_end("fixture")
    with pytest.raises(ConnectionError):
        layers.refill()
    data.clear()
    data.is_refused = False
    layers.refill()
    assert data == {"seed": "1"}
