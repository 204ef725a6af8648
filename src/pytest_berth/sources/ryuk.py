"""testcontainers' own reaper, Ryuk: a container that removes ours when nobody is connected to it.

It needs nothing but the engine, which helps where a CI system ends every process of a job at once.
testcontainers starts it, in the process that first starts a container; the other processes of the
run connect to it, too, so that it waits for the last of them.
"""

from __future__ import annotations

import atexit
import socket
from typing import TYPE_CHECKING, Any

from pytest_berth.compat import testcontainers_private
from pytest_berth.debug_log import ignoring
from pytest_berth.errors import NoSourceError, StartError
from pytest_berth.sources import engine_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.api import Progress
    from pytest_berth.sources.container_engine import Engine

_ANSWERS_WITHIN = 10.0
_PORT = 8080


def obstacle(engine: Engine, progress: Progress) -> NoSourceError | None:
    """Tell why the reaper cannot be had: its image is not there, and cannot be pulled."""
    from docker.errors import DockerException
    from testcontainers.core.config import testcontainers_config

    from pytest_berth.sources import images
    from pytest_berth.sources.container_engine import image_name

    image = image_name(testcontainers_config.ryuk_image)
    try:
        if not images.present(engine, image):
            images.pull(engine, image, progress)
    except DockerException as error:
        return NoSourceError(
            f"testcontainers' reaper {image} is not present and could not be pulled.",
            why=f"berth_ryuk = true; {error}",
            remedy=f"docker pull {image}\nor leave it to berth's own reaper: berth_ryuk = false",
        )
    return None


def start() -> dict[str, Any]:
    """Start the reaper, and return what other processes need to connect to it.

    Raises:
        StartError: It did not start.
    """
    from docker.errors import DockerException
    from testcontainers.core.container import Reaper
    from testcontainers.core.labels import SESSION_ID

    try:
        container = testcontainers_private.reaper_container()
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(_PORT))
    except (DockerException, OSError, TimeoutError) as error:
        raise StartError(
            "testcontainers' reaper could not be started.",
            why=f"berth_ryuk = true; {error}",
            remedy="see TESTCONTAINERS_RYUK_PRIVILEGED and TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE,"
            "\nor leave it to berth's own reaper: berth_ryuk = false",
        ) from error
    # testcontainers would remove it with this process; other workers still need it.
    atexit.unregister(Reaper.delete_instance)
    identity = container.get_wrapped_container().id
    return {"session": SESSION_ID, "host": host, "port": port, "container": identity}


def labels(image: str, own: Mapping[str, str]) -> dict[str, str]:
    """Return a container's labels with those that the reaper knows it by."""
    from testcontainers.core.labels import create_labels

    return create_labels(image, dict(own))


def join(reaper: Mapping[str, Any]) -> socket.socket | None:
    """Connect to the reaper that another process has started; it waits until that is closed.

    Returns:
        None in the process that has started it.
    """
    from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID

    if reaper["session"] == SESSION_ID:
        return None
    address = reaper["host"], reaper["port"]
    connection = socket.create_connection(address, timeout=_ANSWERS_WITHIN)
    connection.sendall(f"label={LABEL_SESSION_ID}={reaper['session']}\n".encode())
    return connection


def stop(engine: Engine, reaper: Mapping[str, Any]) -> None:
    """Remove the reaper of a run that has come to its end."""
    with ignoring(*engine_errors.not_found(), why="the reaper is gone already"):
        engine.containers.get(reaper["container"]).remove(force=True, v=True)
