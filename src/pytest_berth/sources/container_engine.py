"""The container engine, found and addressed as testcontainers does it."""

from __future__ import annotations

import os
import re
import socket
import sys
import traceback
import warnings
from importlib import import_module
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_berth.sources import engine_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testcontainers.core.docker_client import DockerClient

SOCKET = "/var/run/docker.sock"
PROPERTIES = ".testcontainers.properties"
CONTEXTS = ".docker/config.json"
_CONFIGURATION = (CONTEXTS, PROPERTIES)
# A machine that does not answer is given up soon; a busy engine behind its socket is not.
_REMOTE_ANSWERS_WITHIN = 0.8
LOCAL_ANSWERS_WITHIN = 5.0
WORK_WITHIN = 60
# Engines bind files of theirs into each container, from a directory of its id.
_OUR_CONTAINER = re.compile(r"containers/([0-9a-f]{64})/\S*(?:hostname|hosts|resolv\.conf) ")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class EngineUnreachableError(Exception):
    """No container engine answers."""


class RegistryLoginError(EngineUnreachableError):
    """The engine answers, but testcontainers' login to a registry fails."""


class ClientSettingsError(EngineUnreachableError):
    """The engine's client fails at what says which engine is meant."""


class Engine:
    """An engine that answers.

    Args:
        client: testcontainers' client.
        on_this_host: Whether a port published on 127.0.0.1 can be reached from here.

    Attributes:
        on_this_host: Likewise.
        socket: The path of its socket, where requests go over it without docker-py.
    """

    def __init__(self, client: DockerClient | None, *, on_this_host: bool) -> None:
        self._client = client
        self.on_this_host = on_this_host
        self.socket = ""

    @property
    def client(self) -> DockerClient:
        """The client of testcontainers, which knows contexts, properties files and ssh."""
        if self._client is None:
            self._client = connected_client()
        return self._client

    @property
    def containers(self) -> Any:
        """docker-py's collection of containers."""
        return self.client.client.containers

    @property
    def images(self) -> Any:
        """docker-py's collection of images."""
        return self.client.client.images

    @property
    def networks(self) -> Any:
        """docker-py's collection of networks."""
        return self.client.client.networks

    @property
    def address(self) -> str:
        """Where the engine is, as it is asked."""
        return str(self.client.client.api.base_url)

    def list_images(self, filters: Mapping[str, Any]) -> list[Any]:
        """Return images by their labels, without the details of each: one may go meanwhile."""
        listed = self.client.client.api.images(filters=filters, all=True)
        return list(map(self.images.prepare_model, listed))

    @property
    def is_on_this_machine(self) -> bool:
        """Whether it is reached by a socket or pipe of this machine, also from a container."""
        address = urlsplit(self.address)
        return address.scheme == "http+docker" and address.hostname in {"localhost", "localnpipe"}

    def our_container(self) -> str:
        """Return the id of the container that this process runs in, and when it was started.

        Returns:
            Its id and the time of its start; empty where it is none of this engine's.
        """
        try:
            mounts = Path("/proc/self/mountinfo").read_text()
        except OSError:
            return ""
        match = _OUR_CONTAINER.search(mounts)
        try:
            return _life(self.containers.get(match[1])) if match else ""
        except engine_errors.not_found():
            return ""

    def has_ended(self, life: str) -> bool:
        """Tell whether a container has ended, or was started anew, since `our_container`."""
        try:
            return _life(self.containers.get(life.partition(" ")[0])) != life
        except engine_errors.not_found():
            return True

    def host(self, container_id: str) -> str:
        """Return the address under which a container's ports are reached from here."""
        if self.on_this_host:
            return "127.0.0.1"
        from testcontainers.core.config import ConnectionMode

        mode = self.client.get_connection_mode()
        if mode == ConnectionMode.bridge_ip:
            return self.client.bridge_ip(container_id)
        if mode == ConnectionMode.gateway_ip:
            return self.client.gateway_ip(container_id)
        return self.client.host()

    def known_host(self) -> str | None:
        """Return that address if it is known before a container exists."""
        if self.on_this_host:
            return "127.0.0.1"
        from testcontainers.core.config import ConnectionMode

        if self.client.get_connection_mode() == ConnectionMode.docker_host:
            return self.client.host()
        return None

    def port(self, container_id: str, port: int) -> int:
        """Return the port to connect to for a container's port."""
        return int(self.client.port(container_id, port)) if self.maps_ports else port

    @property
    def maps_ports(self) -> bool:
        """Whether containers are reached through ports of the engine's host."""
        return self.on_this_host or self.client.get_connection_mode().use_mapped_port

    def network(self) -> str | None:
        """Return the network to join when pytest itself runs in a container."""
        return None if self.on_this_host else self.client.find_host_network()


def _life(container: Any) -> str:
    state = container.attrs["State"]
    return f"{container.id} {state['StartedAt']}" if state["Running"] else ""


def load_client() -> None:
    """Import testcontainers' client, unless nothing says that there is an engine."""
    if not _nothing_says_that_there_is_one():
        _import_client()


def connect() -> Engine:
    """Connect to the container engine, within a fraction of a second.

    Raises:
        EngineUnreachableError: None answers.
        RegistryLoginError: One does, but not the registry of ``DOCKER_AUTH_CONFIG``.
    """
    if _nothing_says_that_there_is_one():
        raise EngineUnreachableError(f"there is no {SOCKET}, and DOCKER_HOST is not set")
    client = connected_client()
    return Engine(client, on_this_host=_on_this_host(client))


def connected_client() -> DockerClient:
    """Return testcontainers' client of an engine that answers.

    Raises:
        EngineUnreachableError: None answers.
        ClientSettingsError: What says where it is cannot be read.
        RegistryLoginError: One does, but not the registry of ``DOCKER_AUTH_CONFIG``.
    """
    _import_client()
    from docker.errors import DockerException
    from requests.exceptions import RequestException
    from testcontainers.core.docker_client import get_docker_host

    try:
        remote = (get_docker_host() or "").startswith(("tcp:", "http:", "https:"))
        within = _REMOTE_ANSWERS_WITHIN if remote else LOCAL_ANSWERS_WITHIN
        client = _client(within)
        client.client.ping()
    except RegistryLoginError as error:
        _close(error)
        raise
    except (DockerException, RequestException, OSError) as error:
        _close(error)
        raise EngineUnreachableError(str(error)) from error
    except Exception as error:  # docker-py takes a file, or a variable, to be as it should be
        _close(error)
        raise ClientSettingsError(f"{type(error).__name__}: {error}") from error
    client.client.api.timeout = WORK_WITHIN
    return client


def _import_client() -> None:
    """Import testcontainers' client, which reads its settings in the user's home at once."""
    try:
        import_module("testcontainers.core.docker_client")
    except (RuntimeError, OSError) as error:
        raise ClientSettingsError(f"{type(error).__name__}: {error}") from error


def _client(timeout: float) -> DockerClient:
    """Return testcontainers' client, which logs in to a registry as soon as it is made."""
    from docker.errors import DockerException
    from testcontainers.core.docker_client import DockerClient

    class Client(DockerClient):
        def login(self, auth_config: Any) -> None:
            try:
                super().login(auth_config)
            except DockerException as error:
                raise RegistryLoginError(str(error)) from error

    return Client(timeout=timeout)


def _close(error: BaseException) -> None:
    """Free the socket of an attempt that failed: docker's client leaves it open."""
    chain: BaseException | None = error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        while chain:
            traceback.clear_frames(chain.__traceback__)
            chain = chain.__context__


def _nothing_says_that_there_is_one() -> bool:
    """Tell, without the engine's client, whose import takes longer than a server's start."""
    set_by_variables = any(name.startswith(("DOCKER_", "TESTCONTAINERS_")) for name in os.environ)
    set_by_files = Path(SOCKET).exists() or any(map(file_of_home, _CONFIGURATION))
    return os.name == "posix" and not set_by_variables and not set_by_files


def _on_this_host(client: DockerClient) -> bool:
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.utils import inside_container

    if testcontainers_config.connection_mode_override:
        return False
    if testcontainers_config.tc_host_override or not inside_container():
        return client.host() in _LOOPBACK
    # Inside a container, testcontainers takes an engine behind a socket for the outer host's.
    return urlsplit(client.client.api.base_url).hostname in _LOOPBACK and shares_our_network(
        client.client.networks
    )


def shares_our_network(networks: Any) -> bool:
    """Tell, inside a container, whether the engine with these networks runs in this very container.

    So it is in dev containers that bring an engine of their own. The engine's bridge then is an
    interface of ours, and only an address of ours can be bound.
    """
    try:
        bridge = networks.get("bridge").attrs
    except engine_errors.not_found():
        return False
    return any(_is_our_address(_gateway(entry)) for entry in bridge["IPAM"]["Config"] or ())


def _gateway(network: Mapping[str, str]) -> str:
    """Return a network's gateway; engines that have chosen it themselves may not tell."""
    return network.get("Gateway") or str(next(ip_network(network["Subnet"]).hosts()))


def _is_our_address(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def image_name(image: str) -> str:
    """Return the image's name with testcontainers' prefix, an organisation's mirror."""
    if is_plain():
        return image
    from testcontainers.core.config import testcontainers_config

    # Versions before 4.14 have none.
    return getattr(testcontainers_config, "hub_image_name_prefix", "") + image


def file_of_home(name: str) -> Path | None:
    """Return a file of the user's home; None where there is none that can be read.

    Without ``HOME``, a user whom the system does not know has no home, as in a container that runs
    under a number only.
    """
    try:
        path = Path.home() / name
    except RuntimeError:
        return None
    return path if os.access(path, os.R_OK) else None


def is_plain() -> bool:
    """Tell whether testcontainers has no settings: no variable, no file, none of a program's."""
    set_by_variables = any(name.startswith("TESTCONTAINERS_") for name in os.environ)
    return not (
        set_by_variables or file_of_home(PROPERTIES) or "testcontainers.core.config" in sys.modules
    )
