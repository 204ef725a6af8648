"""``pytest-berth run``, without servers."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pytest_berth.cli import run_program
from pytest_berth.config.options import KEEP
from pytest_berth.errors import DevelopmentError
from pytest_berth.file_locks import LockHeldError
from pytest_berth.standalone import development

if TYPE_CHECKING:
    from pathlib import Path


def test_no_program_can_join_the_servers_that_a_fresh_start_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Up:
        project, name = str(tmp_path), development.NAME

        @property
        def users(self) -> list[str]:
            asked.append("users")
            self.require_locked()
            return []

        def end(self) -> None:
            asked.append("end")
            self.require_locked()
            raise DevelopmentError("as far as this test goes.")

        def require_locked(self) -> None:
            with pytest.raises(LockHeldError), development.lock(tmp_path, self.name):
                pass

    found = SimpleNamespace(root=tmp_path, settings={KEEP: timedelta()})
    monkeypatch.setattr(run_program, "sound_project", lambda: found)
    monkeypatch.setattr(development, "of_user", lambda: [Up()])
    parser = argparse.ArgumentParser()
    run_program.add(parser.add_subparsers())
    given = parser.parse_args(["run", "--fresh"])
    given.instead = [sys.executable]

    with pytest.raises(DevelopmentError, match="as far as this test goes"):
        given.run(given)

    assert asked == ["users", "end"]
    with development.lock(tmp_path, development.NAME):
        pass
