"""Containers of other runs on a shared engine: removed only where their run is provably dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth import wait_for
from pytest_berth.api import Credentials, Server
from pytest_berth.cli import commands
from pytest_berth.run import process_identity
from pytest_berth.run.reuse.records import Record, Records
from pytest_berth.sources.container import removal
from pytest_berth.sources.labels import HOST, INSIDE, OWNER, PROJECT, REUSE, RUN, USER, user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker
    from tests.contracts.conftest import Stage

IMAGE = "postgres:17-alpine"


@pytest.fixture
def create(client: docker.DockerClient) -> Iterator[Callable[..., Any]]:
    """Return a function that creates a container as a run with that owner does."""
    created = []

    def begin(owner: object, **labels: str) -> Any:
        run_id = os.urandom(4).hex()
        mine = {RUN: run_id, OWNER: json.dumps(owner), USER: user()}
        container = client.containers.create(IMAGE, labels={**mine, **labels})
        container.run_id = run_id
        created.append(container)
        return container

    yield begin
    for container in created:
        # Other runs on this engine remove those of dead runs, too.
        with removal():
            container.remove(force=True, v=True)


def exists(client: docker.DockerClient, container: Any) -> bool:
    return bool(client.containers.list(all=True, filters={"id": container.id}, sparse=True))


def expect_gone(client: docker.DockerClient, container: Any) -> None:
    """Wait for a removal, which another run on this engine may have begun."""
    wait_for(lambda: not exists(client, container), 60, message=f"removal of {container.name}")


@pytest.fixture
def dead() -> process_identity.Process:
    """A process that has ended."""
    program = "from pytest_berth.run import process_identity; import json"
    command = [
        sys.executable,
        "-c",
        f"{program}; print(json.dumps(process_identity.this_process()))",
    ]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    return process_identity.Process(*json.loads(output))


@pytest.fixture
def place(tmp_path: Path) -> Records:
    """The records of a user who keeps no server yet."""
    made = Records(tmp_path / "kept")
    made.directory.mkdir(mode=0o700)  # else it is not believed
    return made


def test_what_a_dead_run_has_left_is_removed_by_the_next_one(
    create: Callable[..., Any],
    client: docker.DockerClient,
    stage: Stage,
    dead: process_identity.Process,
    place: Records,
) -> None:
    container, ended = create(dead), create(dead, **{REUSE: str(place.directory)})
    stage.start("container")
    expect_gone(client, container)
    expect_gone(client, ended)  # it was to be kept, and has no record


def test_what_may_belong_to_a_living_run_stays(
    create: Callable[..., Any],
    client: docker.DockerClient,
    stage: Stage,
    dead: process_identity.Process,
    place: Records,
) -> None:
    kept = {REUSE: str(place.directory)}
    elsewhere_kept = {REUSE: f"{place.directory}-of-another-container"}
    elsewhere = dead._replace(machine="another-boot pid:[4026531836]")
    stay = {
        "a living run": create(process_identity.this_process()),
        "another machine": create(elsewhere),
        "another user": create(dead, **{USER: "somebody"}),
        "an earlier version": create(None),
        "a kept server": create(dead, **kept),
        "a server kept elsewhere": create(dead, **elsewhere_kept),
        "the user's own testcontainers": client.containers.create(
            IMAGE, labels={"org.testcontainers": "true", "org.testcontainers.session-id": "1"}
        ),
    }
    server = Server("postgres", "container", "", 0, Credentials("", "", ""))
    server = replace(server, handle={"container": stay["a kept server"].id})
    place.write(Record("postgres-1", server, (), "", "", 3600.0, time.time() + 3600))
    try:
        stage.start("container")
        assert [who for who, container in stay.items() if not exists(client, container)] == []
    finally:
        stay["the user's own testcontainers"].remove(v=True)


def test_a_run_is_dead_whose_own_container_was_started_anew(
    create: Callable[..., Any],
    client: docker.DockerClient,
    stage: Stage,
    dead: process_identity.Process,
) -> None:
    elsewhere = dead._replace(machine="another-boot pid:[4026531836]")
    job = client.containers.run(IMAGE, ["sleep", "100"], detach=True)
    try:
        job.reload()
        life = f"{job.id} {job.attrs['State']['StartedAt']}"
        container = create(elsewhere, **{INSIDE: life})
        stage.start("container")
        assert exists(client, container)
        job.restart(timeout=0)
        stage.start("container")
        expect_gone(client, container)
    finally:
        job.remove(force=True, v=True)


def test_ps_lists_what_is_known_of_each_run(
    create: Callable[..., Any], dead: process_identity.Process, capsys: pytest.CaptureFixture[str]
) -> None:
    # Another user's: a run beside this test removes those of its own user.
    labels = {USER: "somebody", PROJECT: "/src/shop"}
    container = create(dead, **labels, **{HOST: "laptop"})
    living = create(process_identity.this_process())
    commands.main(["ps"])
    output = capsys.readouterr().out
    assert f"{container.run_id}  dead     {container.name}  /src/shop on laptop\n" in output
    assert f"{living.run_id}  alive    {living.name}  ? on ?\n" in output


@pytest.mark.parametrize(("answer", "stays"), [("y", False), ("", True), ("n", True)])
def test_prune_asks_before_it_removes_what_nobody_can_prove_to_be_dead(
    create: Callable[..., Any],
    client: docker.DockerClient,
    dead: process_identity.Process,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    stays: bool,
) -> None:
    container = create(dead._replace(machine="another-boot pid:[4026531836]"))
    monkeypatch.setattr("builtins.input", lambda question: answer)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    commands.main(["prune", container.run_id])
    assert exists(client, container) == stays


def test_prune_removes_without_a_question_what_is_provably_dead(
    create: Callable[..., Any], client: docker.DockerClient, dead: process_identity.Process
) -> None:
    container = create(dead)
    commands.main(["prune", container.run_id])
    expect_gone(client, container)


def test_prune_never_touches_a_living_run(
    create: Callable[..., Any], client: docker.DockerClient
) -> None:
    container = create(process_identity.this_process())
    commands.main(["prune", "--yes", container.run_id])
    assert exists(client, container)


def test_prune_takes_yes_for_an_answer(
    create: Callable[..., Any], client: docker.DockerClient
) -> None:
    container = create(None)
    commands.main(["prune", "--yes", container.run_id])
    assert not exists(client, container)
