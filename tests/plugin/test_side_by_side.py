"""Runs of one project at the same time, beside containers of others: none harms another."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import docker

from pytest_berth import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project

TESTS = """
    import os
    import threading
    from pathlib import Path
    from sqlalchemy import text

    def test_writes(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(text("CREATE TABLE mine (number int)"))
            Path(f"there-{os.environ['NUMBER']}").touch()
            wait = threading.Event().wait
            while len(list(Path().glob("there-*"))) < 3:
                wait(0.05)

    def test_is_still_served(pg_server, pg_session):
        assert pg_session.scalar(text("SELECT 1")) == 1
"""


def test_three_runs_and_a_container_with_the_label_of_testcontainers(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("container")
    project.ini("berth_source = container")
    project.write(test_it=TESTS)
    client = docker.from_env()
    labels = {"org.testcontainers": "true", "org.testcontainers.session-id": "somebody's"}
    foreign = client.containers.run(
        "postgres:17-alpine", ["sleep", "300"], labels=labels, detach=True
    )
    try:
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "pytest", *project.arguments()],
                cwd=project.root,
                env={**os.environ, "NUMBER": str(number)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for number in range(3)
        ]
        outputs = [run.communicate(timeout=600)[0] for run in runs]
        assert all("2 passed" in output for output in outputs), outputs
        foreign.reload()
        assert foreign.status == "running"
        mine = {"label": f"org.pytest-berth.project={project.root}"}
        wait_for(lambda: not client.containers.list(all=True, filters=mine, sparse=True), 60)
    finally:
        foreign.remove(force=True, v=True)
        client.close()
