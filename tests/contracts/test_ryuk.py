"""`berth_ryuk`: testcontainers' own reaper removes what a killed run has left."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from docker.errors import APIError, DockerException, ImageNotFound

from pytest_berth import wait_for
from pytest_berth.sources.labels import RUN

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker
    from tests.conftest import Project

# What Ryuk does, in as many lines: it cannot be had where no registry is reachable.
STAND_IN = r"""
FROM postgres:17-alpine
ENTRYPOINT ["perl", "-MIO::Socket::INET", "-MIO::Socket::UNIX", "-MIO::Select", "-e", "\
  $| = 1; my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 9, ReuseAddr => 1) or die $!;\
  my $all = IO::Select->new($s); my (%filters, $seen); print STDERR qq(Started!\n);\
  while (1) {\
    my @ready = $all->can_read(1);\
    for my $c (@ready) {\
      if ($c == $s) { $all->add($s->accept); $seen = 1; next }\
      my $line = <$c>; if (!defined $line) { $all->remove($c); close $c; next }\
      $line =~ s/\\s+$//; $filters{$line} = 1; print $c qq(ACK\n);\
    }\
    last if $seen && $all->count == 1;\
  }\
  sub ask { my $u = IO::Socket::UNIX->new(Peer => q(/var/run/docker.sock)) or die $!;\
    print $u qq($_[0] HTTP/1.0\r\n\r\n); local $/; my $answer = <$u>; $answer }\
  for my $f (keys %filters) { $f =~ s/^label=//;\
    my $found = ask(qq(GET /containers/json?all=1&filters=%7B%22label%22%3A%5B%22$f%22%5D%7D));\
    ask(qq(DELETE /containers/$_?force=1&v=1)) for $found =~ /\"Id\":\"([0-9a-f]{64})\"/g }\
"]
"""
# Of this process alone, as its containers are found by it.
NAME = f"pytest-berth/ryuk-stand-in:{os.urandom(4).hex()}"
TESTS = """
    import threading
    from pathlib import Path

    def test_that_takes_long(pg_session):
        Path("one").touch()
        threading.Event().wait(60)

    def test_on_another_worker(pg_session):
        Path("two").touch()
        threading.Event().wait(60)

    def test_quick(pg_session):
        pass
"""


@pytest.fixture
def ryuk(client: docker.DockerClient) -> Iterator[str]:
    """Give the name of an image that does what Ryuk does."""
    # The same text would make the same image, whatever its name.
    text = f"{STAND_IN}LABEL name={NAME}\n"
    try:
        client.images.build(fileobj=io.BytesIO(text.encode()), tag=NAME, rm=True)
    except (APIError, DockerException) as error:
        pytest.skip(f"the stand-in cannot be built: {error}")
    yield NAME
    client.images.remove(NAME, force=True)


def left(client: docker.DockerClient, project: Project) -> list[Any]:
    label = f"org.pytest-berth.project={project.root}"
    return list(client.containers.list(all=True, filters={"label": [label, RUN]}, sparse=True))


def reapers(client: docker.DockerClient) -> list[Any]:
    return list(client.containers.list(all=True, filters={"ancestor": NAME}, sparse=True))


def test_a_run_that_ends_well_leaves_neither_server_nor_reaper(
    project: Project, client: docker.DockerClient, ryuk: str
) -> None:
    project.ini("berth_ryuk = true", "berth_source = container")
    project.write(test_it=TESTS)
    result = project.run("-k", "quick", RYUK_CONTAINER_IMAGE=ryuk)
    result.assert_outcomes(passed=1)
    assert not left(client, project)
    assert not reapers(client)


@pytest.mark.parametrize(
    "workers", [pytest.param((), marks=pytest.mark.nightly), ("-n2",)], ids=["alone", "xdist"]
)
def test_ryuk_removes_what_a_run_left_that_was_killed_with_its_own_reaper(
    project: Project, client: docker.DockerClient, ryuk: str, workers: tuple[str, ...]
) -> None:
    project.plugins = ("xdist", "xdist.looponfail") if workers else ()
    project.ini("berth_ryuk = true", "berth_source = container")
    project.write(test_it=TESTS)
    with tempfile.TemporaryDirectory(prefix="ryuk-", ignore_cleanup_errors=True) as place:
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", *project.arguments(*workers, "-k", "not quick")],
            cwd=project.root,
            env={**os.environ, "TMPDIR": place, "RYUK_CONTAINER_IMAGE": ryuk},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        marks = [project.root / name for name in ("one", "two")[: 1 + bool(workers)]]
        wait_for(lambda: all(mark.exists() for mark in marks), 60)
        assert len(left(client, project)) == 1
        family = [*psutil.Process(run.pid).children(recursive=True), psutil.Process(run.pid)]
        every = psutil.process_iter(["cmdline"])
        helpers = [each for each in every if place in " ".join(each.info["cmdline"] or ())]
        # Its own reaper first: it would begin at once to remove what the run has left.
        for process in [*helpers, *family]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        run.wait()
    wait_for(lambda: not left(client, project), 60, message="the reaper")
    wait_for(lambda: not reapers(client), 60, message="the reaper's end")


def test_where_the_reaper_cannot_be_had_the_run_says_so(
    project: Project, client: docker.DockerClient
) -> None:
    image = "localhost:1/nobody/ryuk:0"
    with pytest.raises(ImageNotFound):
        client.images.get(image)
    project.ini("berth_ryuk = true", "berth_source = container")
    project.write(test_it=TESTS)
    result = project.run("-k", "quick", RYUK_CONTAINER_IMAGE=image)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*postgres cannot be served from the source asked for: berth_source = container*",
            f"*testcontainers' reaper {image} is not present and could not be pulled.*",
            f"*do:  docker pull {image}",
            "*or leave it to berth's own reaper: berth_ryuk = false",
        ]
    )
    assert not left(client, project)


def test_without_the_setting_our_containers_are_not_the_reapers(
    project: Project, client: docker.DockerClient
) -> None:
    project.ini("berth_source = container")
    project.write(
        test_it="""
        import docker

        def test_labels(pg_session, pg_server):
            client = docker.from_env()
            own = [c for c in client.containers.list() if str(pg_server.port) in str(c.ports)]
            client.close()
            assert own
            assert not any("testcontainers" in label for label in own[0].labels)
    """
    )
    project.run().assert_outcomes(passed=1)
