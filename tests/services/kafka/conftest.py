"""A user's project whose Kafka is the broker that the outer run has started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project


@pytest.fixture
def on_broker(project: Project, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that is given the outer run's broker by URL, which saves starting one."""
    monkeypatch.setenv("BERTH_KAFKA_URL", kafka_bootstrap)
    return project
