"""A container engine: the one that answers, or one installed and started here."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PIDFILE = Path("/var/run/docker.pid")
LOGFILE = Path("/var/log/pytest-berth-dockerd.log")
PACKAGES = ("docker.io", "iptables", "ca-certificates")
START_TIMEOUT = 60.0
ANSWER_TIMEOUT = 20.0


@dataclass(frozen=True)
class Engine:
    """A container engine, or the reason why there is none.

    Attributes:
        version: Of the server; empty where none answers.
        arch: Of the server, in Go's names: ``amd64``, ``arm64``.
        detail: How it was had, or why it was not.
    """

    version: str
    arch: str
    detail: str

    @property
    def answers(self) -> bool:
        return bool(self.version)


def get_engine() -> Engine:
    """Return an engine that answers, installing or starting one where that is ours to do."""
    found = ask_engine("was already running")
    if found.answers or not can_install():
        return found
    try:
        return _install_and_start(found)
    except (OSError, subprocess.SubprocessError) as error:
        return Engine("", "", f"could not be installed: {reason(error)}")


def _install_and_start(missing: Engine) -> Engine:
    if not (shutil.which("docker") and shutil.which("dockerd")):
        _install()
        missing = ask_engine("was already running; its client was installed")
    return missing if missing.answers else _start()


def can_install() -> bool:
    """Whether this machine is one whose engine we may install: Debian, root, no other engine."""
    return can_apt() and not os.environ.get("DOCKER_HOST")


def can_apt() -> bool:
    """Whether packages can be installed with apt: Debian or Ubuntu, and root."""
    return _is_debian() and os.geteuid() == 0


def apt_install(*packages: str) -> None:
    """Install Debian packages.

    Raises:
        OSError: apt is not there.
        subprocess.SubprocessError: apt failed; its output is in ``output``.
    """
    # A source that cannot be refreshed is no matter unless it is one of those needed now.
    _apt("update", check=False)
    _apt("install", "--no-install-recommends", *packages)


def why_not_installed() -> str:
    """Say why no engine was installed, in the words of :func:`can_install`."""
    if host := os.environ.get("DOCKER_HOST"):
        return f"DOCKER_HOST is {host}, and nothing answers there"
    if not _is_debian():
        return "none answers, and one is installed on Debian and Ubuntu only"
    return "none answers, and installing one needs root"


def ask_engine(detail: str) -> Engine:
    """Ask the engine for its version; *detail* says how it came to be there."""
    template = "{{.Server.Version}} {{.Server.Arch}}"
    try:
        answer = subprocess.run(
            ["docker", "version", "--format", template],
            capture_output=True,
            text=True,
            timeout=ANSWER_TIMEOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        return Engine("", "", "there is no docker command")
    except subprocess.TimeoutExpired:
        return Engine("", "", f"docker version did not answer within {ANSWER_TIMEOUT:g} s")
    if answer.returncode != 0 or len(answer.stdout.split()) != 2:
        return Engine("", "", answer.stderr.strip() or "docker version named no server")
    version, arch = answer.stdout.split()
    return Engine(version, arch, detail)


def _is_debian() -> bool:
    if not sys.platform.startswith("linux") or not shutil.which("apt-get"):
        return False
    release = Path("/etc/os-release")
    words = release.read_text(encoding="utf-8") if release.exists() else ""
    fields = dict(line.split("=", 1) for line in words.splitlines() if "=" in line)
    family = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    return bool({"debian", "ubuntu"} & set(family))


def _install() -> None:
    print("No container engine: installing docker.io ...", flush=True)
    apt_install(*PACKAGES)
    if not shutil.which("docker"):
        # Since Debian 13 the client is a package of its own.
        _apt("install", "--no-install-recommends", "docker-cli")


def _apt(*arguments: str, check: bool = True) -> None:
    subprocess.run(
        ["apt-get", "-y", "-q", *arguments],
        check=check,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def _start() -> Engine:
    """Start dockerd, detached: it outlives this script, as a service would."""
    if not _is_starting():
        PIDFILE.unlink(missing_ok=True)
    print(f"Starting dockerd; its log is {LOGFILE} ...", flush=True)
    with LOGFILE.open("ab") as log:
        daemon = subprocess.Popen(
            ["dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return _wait_for(daemon)


def _wait_for(daemon: subprocess.Popen[bytes]) -> Engine:
    """Ask until an engine answers: *daemon*, or the one that its package has just started."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        engine = ask_engine(f"installed or started here; its log is {LOGFILE}")
        if engine.answers:
            return engine
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(timeout=0.1)
            if not _is_starting():
                break
    return Engine("", "", f"dockerd did not start; the end of {LOGFILE}:\n{_tail(LOGFILE)}")


def _is_starting() -> bool:
    """Whether the pid file names a dockerd; one that was killed leaves a stale file behind."""
    try:
        pid = int(PIDFILE.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return False
    return _program(pid) == "dockerd"


def _program(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return ""


def _tail(path: Path, lines: int = 5) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def reason(error: Exception) -> str:
    """Return what an installation failed with, and the end of what it printed."""
    output = getattr(error, "output", None)
    return f"{error}\n{output[-1000:]}" if output else str(error)
