"""The command beside a server that is started by hand: `python -m benchmarks.command`.

For ``examples/shop``: seconds from the first command to the first answered request that writes a
row. By hand is ``docker run``, a wait for the server, ``alembic upgrade head``, ``uvicorn``: what
a compose file does, without the program for it. Everything uses the image that is there, and runs
in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psycopg

from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SHOP = Path(__file__).parents[1] / "examples" / "shop"
IMAGE = "postgres:17-alpine"
BERTH = (sys.executable, "-m", "pytest_berth.cli")
WITHIN = 300.0


def main() -> None:
    """Measure all ways in turns, and print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-command-", ignore_cleanup_errors=True) as made:
        place = Path(made)
        place.chmod(0o755)
        for way, measure in _ways(place).items():
            measure()  # what is compiled and cached is there for all
            taken[way] = []
        for _ in range(rounds):
            for way, measure in _ways(place).items():
                taken[way].append(measure())
    print("| Median | Fastest | What |\n|---:|---:|---|")
    for way, values in taken.items():
        print(f"| {median(values):.2f} s | {min(values):.2f} s | {way} |")


def _ways(place: Path) -> Mapping[str, Callable[[], float]]:
    ways: dict[str, Callable[[], float]] = {}
    if shutil.which("docker"):
        ways["by hand: `docker run`, wait, `alembic upgrade head`, `uvicorn`"] = _by_hand
        ways["by hand, the server is up and migrated: `uvicorn`"] = _by_hand_again
        for text, settings in (
            ("container, no snapshot", {"BERTH_SNAPSHOTS": "off"}),
            ("container, from a snapshot", {"BERTH_SNAPSHOTS": "on"}),
        ):
            name = f"`pytest-berth run -- uvicorn`: {text}"
            ways[name] = _run(place, {"BERTH_SOURCE": "container", **settings})
        again = "`pytest-berth run -- uvicorn`: container, after `pytest-berth up`"
        ways[again] = _run_after_up(place, {"BERTH_SOURCE": "container"})
    for text, settings in (
        ("local, no snapshot", {"BERTH_SNAPSHOTS": "off"}),
        ("local, from a snapshot", {"BERTH_SNAPSHOTS": "on"}),
    ):
        name = f"`pytest-berth run -- uvicorn`: {text}"
        ways[name] = _run(place, {"BERTH_SOURCE": "local", **settings})
    again = "`pytest-berth run -- uvicorn`: local, after `pytest-berth up`"
    ways[again] = _run_after_up(place, {"BERTH_SOURCE": "local"})
    ways["`pytest-berth doctor postgres`"] = lambda: _doctor({})
    ways["`pytest-berth doctor postgres`, no engine"] = lambda: _doctor(
        {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    )
    return ways


def _by_hand() -> float:
    begun = time.perf_counter()
    with _server() as url:
        environment = {"DATABASE_URL": url}
        _call([sys.executable, "-m", "alembic", "upgrade", "head"], environment)
        with _answering(environment, _uvicorn):
            return time.perf_counter() - begun


def _by_hand_again() -> float:
    with _server() as url:
        environment = {"DATABASE_URL": url}
        _call([sys.executable, "-m", "alembic", "upgrade", "head"], environment)
        begun = time.perf_counter()
        with _answering(environment, _uvicorn):
            return time.perf_counter() - begun


def _run(place: Path, settings: Mapping[str, str]) -> Callable[[], float]:
    def measure() -> float:
        begun = time.perf_counter()
        with _answering(_of_berth(place, settings), _run_command):
            return time.perf_counter() - begun

    return measure


def _run_after_up(place: Path, settings: Mapping[str, str]) -> Callable[[], float]:
    def measure() -> float:
        _call([*BERTH, "up"], _of_berth(place, settings))
        try:
            return _run(place, settings)()
        finally:
            _call([*BERTH, "down"], _of_berth(place, settings))

    return measure


def _doctor(settings: Mapping[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(
        [*BERTH, "doctor", "postgres"],
        cwd=SHOP,
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - begun


def _of_berth(place: Path, settings: Mapping[str, str]) -> Mapping[str, str]:
    own = {"BERTH_CACHE": str(place / "cache"), "TMPDIR": str(place)}
    return {"BERTH_EXPORT": "DATABASE_URL = {pg_url}", **own, **settings}


def _uvicorn(port: int) -> list[str]:
    words = ["uvicorn", "shop.api:app", "--port", str(port), "--log-level", "warning"]
    return [sys.executable, "-m", *words]


def _run_command(port: int) -> list[str]:
    return [*BERTH, "run", "--", *_uvicorn(port)]


@contextmanager
def _answering(
    environment: Mapping[str, str], command: Callable[[int], Sequence[str]]
) -> Iterator[None]:
    """Start the application, and yield when it has answered a request."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    process = subprocess.Popen(
        command(port),
        cwd=SHOP,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: _answers(process, port), WITHIN, max_interval=0.01)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _answers(process: subprocess.Popen[str], port: int) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"{process.args!r} has ended: {process.communicate()[1]}")
    body = json.dumps({"email": f"{secrets.token_hex(8)}@example.com", "name": "somebody"})
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/customers",
        body.encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 201)
    except urllib.error.HTTPError:
        raise
    except OSError:
        return False


@contextmanager
def _server() -> Iterator[str]:
    """Start a server by hand, and yield its address when it answers."""
    password, name = secrets.token_hex(8), f"bench-command-{secrets.token_hex(4)}"
    words = ["docker", "run", "--detach", "--rm", "--name", name, "--publish", "127.0.0.1::5432"]
    _call([*words, "--env", f"POSTGRES_PASSWORD={password}", IMAGE], {})
    try:
        told = subprocess.run(
            ["docker", "port", name, "5432/tcp"], capture_output=True, text=True, check=True
        ).stdout
        address = f"postgres:{password}@127.0.0.1:{told.strip().rpartition(':')[2]}/postgres"
        wait_for(lambda: _connects(f"postgresql://{address}"), WITHIN, max_interval=0.05)
        yield f"postgresql+psycopg://{address}"
    finally:
        _call(["docker", "rm", "--force", "--volumes", name], {})


def _connects(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _call(command: Sequence[str], environment: Mapping[str, str]) -> None:
    subprocess.run(
        command,
        cwd=SHOP,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


if __name__ == "__main__":
    main()
