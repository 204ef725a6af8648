"""What tests of MySQL share: they run on a local server of MariaDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.services.mysql.service import MYSQL

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from pytest_berth.api import Service


@pytest.fixture(autouse=True)
def local(
    project: Project,
    require_service: Callable[[Service, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Let runs start a local server; skip where there is none."""
    require_service(MYSQL, "local")
    monkeypatch.setenv("BERTH_SOURCE", "local")
