"""An engine that is restarted in mid-run costs the test that sees it, and no other.

The engine is the test's own, beside the machine's: the nightly session tries it, as root on Linux.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_berth import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Project
    from pytest_berth.api import Service

from pytest_berth.services.redis.service import REDIS

pytestmark = pytest.mark.skipif(
    not os.environ.get("BERTH_TESTS_KILLS")
    or sys.platform != "linux"
    or os.getuid() != 0
    or not (shutil.which("dockerd") and shutil.which("ip")),
    reason="the nightly session's, as root, with dockerd and iproute2",
)
IMAGE = "redis:8-alpine"
BRIDGE, ADDRESS = "berth-tests", "172.29.77.1/24"
TESTS = """
    from pathlib import Path
    import pytest
    from pytest_berth import wait_for

    def test_before(redis_client):
        redis_client.set("a", 1)

    def test_during(redis_client):
        Path("go").touch()
        wait_for(Path("restarted").exists, 60)
        redis_client.set("a", 1)

    @pytest.mark.parametrize("number", range(2))
    def test_after(redis_client, number):
        assert redis_client.dbsize() == 0
        redis_client.set("a", 1)
"""


@dataclass
class Engine:
    """A Docker engine of this test."""

    place: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """What ``DOCKER_HOST`` is set to."""
        return f"unix://{self.place}/socket"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        (self.place / "pid").unlink(missing_ok=True)
        directories = [f"--{kind}-root={self.place}/{kind}" for kind in ("data", "exec")]
        apart = [f"--bridge={BRIDGE}", "--iptables=false", "--ip-masq=false", "--ip-forward=false"]
        own = [f"--pidfile={self.place}/pid", f"--host={self.url}", *directories, *apart]
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(["dockerd", *own], stdout=log, stderr=log)
        wait_for(lambda: self.docker("version").returncode == 0, 60, message="an engine")

    def end(self, how: signal.Signals) -> None:
        """End it, and wait until it has ended."""
        if self.process and self.process.poll() is None:
            # With containerd: one that has lost its parent lets no other start.
            family = psutil.Process(self.process.pid).children()
            self.process.send_signal(how)
            self.process.wait(60)
            for child in family:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            psutil.wait_procs(family, 20)

    def docker(self, *command: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command of the client."""
        words = ["docker", "--host", self.url, *command]
        return subprocess.run(words, input=data, capture_output=True, check=False)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine that has the image of Redis, and is thrown away."""
    subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
    with tempfile.TemporaryDirectory(prefix="berth-engine-", ignore_cleanup_errors=True) as place:
        made = Engine(Path(place))
        try:
            subprocess.run(["ip", "address", "add", ADDRESS, "dev", BRIDGE], check=True)
            subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)
            made.start()
            saved = subprocess.run(["docker", "save", IMAGE], stdout=subprocess.PIPE, check=True)
            made.docker("load", data=saved.stdout).check_returncode()
            yield made
        finally:
            made.end(signal.SIGTERM)
            subprocess.run(["ip", "link", "delete", BRIDGE], check=True)
            # One that was killed has mounted its directory on itself, and another once more.
            subprocess.run(["umount", "--lazy", f"{place}/data"], check=False)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_later_tests_get_another_server(
    project: Project,
    engine: Engine,
    how: signal.Signals,
    require_service: Callable[[Service, str], None],
) -> None:
    require_service(REDIS, "container")
    project.write(test_it=TESTS)
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", *project.arguments("--berth-source=container", "-ra")],
        cwd=project.root,
        env={**os.environ, "DOCKER_HOST": engine.url},
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for((project.root / "go").exists, 60, message="the test that sees it")
    engine.end(how)
    engine.start()
    (project.root / "restarted").touch()

    output = run.communicate(timeout=600)[0]

    assert "1 failed, 3 passed, 1 error" in output, output
    assert "ERROR test_it.py::test_during - the redis server is lost." in output
    assert "in the place of a lost one" in output
    assert engine.docker("ps", "--all", "--quiet").stdout == b""
